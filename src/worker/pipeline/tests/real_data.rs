//! The project's real input against tools that share no code with the engine: jq and Python's csv module.

use serde_json::json;

use super::{Bench, data, multiset, node, output_of};
use crate::worker::pipeline::DagNode;

fn strong() -> Vec<DagNode> {
    vec![
        node(
            "in",
            "filesource",
            json!({"path": "earthquakes.ndjson", "encoding": "ndjson"}),
            &["strong"],
        ),
        node(
            "strong",
            "filter",
            json!({"condition": "to_float!(.properties.mag) >= 4"}),
            &["shape"],
        ),
        node(
            "shape",
            "eval",
            json!({"source": r#". = {"id": .id, "mag": .properties.mag, "place": .properties.place}"#}),
            &["out"],
        ),
        node(
            "out",
            "filesink",
            json!({"path": "strong-${REPLICA_INDEX}.ndjson", "encoding": "ndjson"}),
            &[],
        ),
    ]
}

#[test]
fn strong_earthquakes_are_those_of_jq_for_any_number_of_replicas() {
    let bench = Bench::with("earthquakes.ndjson");
    let program = "select(.properties.mag >= 4) | {id, mag: .properties.mag, place: .properties.place}";
    let wanted = multiset([output_of("jq", &["-c", program, data("earthquakes.ndjson").to_str().unwrap()]).as_str()]);
    assert!(wanted.len() > 100, "jq found {}", wanted.len());
    for count in 1..=8 {
        let mut read = 0;
        let mut results = Vec::new();
        for index in 0..count {
            let (report, _) = bench.run_replica(&strong(), index, count).unwrap();
            read += report.nodes[0].events_in;
            results.push(bench.read(&format!("strong-{index}.ndjson")));
        }
        assert_eq!(read, 1707);
        assert_eq!(multiset(results.iter().map(String::as_str)), wanted, "{count} replicas");
    }
}
