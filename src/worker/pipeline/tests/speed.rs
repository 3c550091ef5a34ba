//! Measures by hand: `cargo test --release --lib pipeline::tests::speed -- --ignored --nocapture`.

use super::data;
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
