//! Measures by hand: `cargo test --release --lib pipeline::tests::speed -- --ignored --nocapture`.

use std::path::Path;

#[test]
#[ignore = "a measurement, not a check"]
fn one_core() {
    let folder = tempfile::tempdir().unwrap();
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/earthquakes.ndjson");
    for _ in 0..3 {
        println!(
            "{:#?}",
            crate::bench::pipeline::run(&records, 1_000_000_000, folder.path()).unwrap()
        );
    }
}
