//! The project's real input against tools that share no code with the engine: jq and Python's csv module.

use serde_json::json;

use super::{Place, data, multiset, node, output_of};
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
    let place = Place::with("earthquakes.ndjson");
    let program = "select(.properties.mag >= 4) | {id, mag: .properties.mag, place: .properties.place}";
    let wanted = multiset([output_of("jq", &["-c", program, data("earthquakes.ndjson").to_str().unwrap()]).as_str()]);
    assert!(wanted.len() > 100, "jq found {}", wanted.len());
    for count in 1..=8 {
        let mut read = 0;
        let mut results = Vec::new();
        for index in 0..count {
            let (report, _) = place.run_replica(&strong(), index, count).unwrap();
            read += report.nodes[0].events_in;
            results.push(place.read(&format!("strong-{index}.ndjson")));
        }
        assert_eq!(read, 1707);
        assert_eq!(multiset(results.iter().map(String::as_str)), wanted, "{count} replicas");
    }
}

/// What Python's csv module makes of the strikes that cost nothing, as sorted JSON lines.
const FREE_IN_PYTHON: &str = r"
import csv, json, sys
with open(sys.argv[1], newline='', encoding='utf-8') as file:
    for row in csv.DictReader(file):
        if int(row['Cost Total $']) == 0:
            print(json.dumps(row, sort_keys=True, separators=(',', ':'), ensure_ascii=False))
";

fn free_in_python() -> Vec<String> {
    let wanted = multiset([output_of(
        "python3",
        &["-c", FREE_IN_PYTHON, data("birdstrikes.csv").to_str().unwrap()],
    )
    .as_str()]);
    assert!(wanted.len() > 100, "python found {}", wanted.len());
    assert!(
        wanted.windows(2).any(|pair| pair[0] == pair[1]),
        "the data was said to have equal rows"
    );
    wanted
}

fn free(mut head: Vec<DagNode>) -> Vec<DagNode> {
    head.push(node(
        "free",
        "filter",
        json!({"condition": r#"to_int!(."Cost Total $") == 0"#}),
        &["out"],
    ));
    head.push(node(
        "out",
        "filesink",
        json!({"path": "free-${REPLICA_INDEX}.ndjson"}),
        &[],
    ));
    head
}

fn assert_free(dag: &[DagNode], rows_at: usize) {
    let place = Place::with("birdstrikes.csv");
    let wanted = free_in_python();
    for count in 1..=8 {
        let mut rows = 0;
        let mut results = Vec::new();
        for index in 0..count {
            let (report, _) = place.run_replica(dag, index, count).unwrap();
            rows += report.nodes[rows_at].events_out;
            assert!(report.first_errors.is_empty(), "{:?}", report.first_errors);
            results.push(place.read(&format!("free-{index}.ndjson")));
        }
        assert_eq!(rows, 10_000, "{count} replicas");
        assert_eq!(multiset(results.iter().map(String::as_str)), wanted, "{count} replicas");
    }
}

#[test]
fn free_strikes_of_a_csv_source_are_those_of_python() {
    let source = node(
        "in",
        "filesource",
        json!({"path": "birdstrikes.csv", "encoding": "csv"}),
        &["free"],
    );
    assert_free(&free(vec![source]), 0);
}

#[test]
fn free_strikes_of_a_csv_parser_are_those_of_python() {
    let file = std::fs::read_to_string(data("birdstrikes.csv")).unwrap();
    let columns: Vec<&str> = file.lines().next().unwrap().split(',').collect();
    let dag = free(vec![
        node(
            "in",
            "filesource",
            json!({"path": "birdstrikes.csv", "encoding": "text"}),
            &["rows"],
        ),
        node(
            "rows",
            "filter",
            json!({"condition": r#"!starts_with!(.message, "Airport Name,")"#}),
            &["parse"],
        ),
        node("parse", "parser", json!({"type": "csv", "columns": columns}), &["free"]),
    ]);
    assert_free(&dag, 1);
}

#[test]
fn csv_written_is_csv_read() {
    let place = Place::with("birdstrikes.csv");
    let dag = vec![
        node(
            "in",
            "filesource",
            json!({"path": "birdstrikes.csv", "encoding": "csv"}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": "out.csv", "encoding": "csv"}), &[]),
    ];
    place.run(&dag).unwrap();
    let sorted_fields = r"
import csv, json, sys
for row in csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')):
    print(json.dumps(row, sort_keys=True))
";
    let of = |path: &std::path::Path| output_of("python3", &["-c", sorted_fields, path.to_str().unwrap()]);
    assert_eq!(of(&place.path("out.csv")), of(&data("birdstrikes.csv")));
}
