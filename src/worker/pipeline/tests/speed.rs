//! Measures by hand: `cargo test --release --lib pipeline::tests::speed -- --ignored --nocapture`.

use serde_json::json;

use super::{Letterbox, Place, RunContext, data, node, run_in};
use crate::bench::pipeline;

#[test]
#[ignore = "a measurement, not a check"]
fn one_core() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        println!(
            "{:#?}",
            pipeline::run(&data("earthquakes.ndjson"), 1_000_000_000, folder.path()).unwrap()
        );
    }
}

/// A small run, so that the measurement itself cannot rot.
#[test]
fn the_measurement_counts_what_it_ran() {
    let folder = tempfile::tempdir().unwrap();
    let bench = pipeline::run(&data("earthquakes.ndjson"), 2_000_000, folder.path()).unwrap();
    assert_eq!((bench.records, bench.bytes), (2 * 1707, 2 * 1_217_844));
    assert_eq!(bench.records_out, 2 * 128);
    assert!(bench.seconds > 0.0 && bench.records_per_second > 0.0);
    assert!(bench.peak_rss_bytes_after >= bench.peak_rss_bytes_before && bench.peak_rss_bytes_before > 1_000_000);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

/// What it costs that a record that fails is kept as it came in, where its text is not that any more.
#[test]
#[ignore = "a measurement, not a check"]
fn an_eval_that_can_fail() {
    let place = Place::new();
    let text = std::fs::read_to_string(data("earthquakes.ndjson")).unwrap();
    place.write("in.ndjson", text.repeat(20));
    let dag = [
        node("in", "filesource", json!({"path": "in.ndjson"}), &["first"]),
        node("first", "eval", json!({"source": ".seen = true"}), &["second"]),
        node(
            "second",
            "eval",
            json!({"source": ".strength = to_float!(.properties.mag) * 2"}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
    ];
    for _ in 0..3 {
        for (what, letterbox) in [
            ("nobody sees dead letters", Letterbox::default()),
            ("dead letters are kept", Letterbox::new(|_, _, _| true)),
        ] {
            let context = RunContext {
                letterbox,
                ..place.context(0, 1)
            };
            let begun = std::time::Instant::now();
            let (report, _) = run_in(&dag, &context).unwrap();
            let per_second = report.nodes[0].events_in as f64 / begun.elapsed().as_secs_f64();
            println!("{what}: {per_second:.0} records/s");
        }
    }
}
