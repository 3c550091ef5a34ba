//! Processes of grid are killed under load; afterwards a checker that shares no code with grid reads the database.
//!
//! What must hold: every acknowledged job is there and comes to its end, no task completes twice, no illegal step, no
//! gap, read models equal to the history, and no process of a task lives two seconds after its worker was killed.
//! `GRID_CHAOS=long` runs the long versions.

mod cluster;
mod load;
mod process;
mod standalone;

use std::path::Path;
use std::process::Command;

/// How often something is killed: a few times as a test, many times as `make chaos`.
pub fn times(short: u32, long: u32) -> u32 {
    if std::env::var("GRID_CHAOS").is_ok_and(|value| value == "long") {
        long
    } else {
        short
    }
}

/// Runs the checker over the database; panics with what it says is wrong.
pub fn check(conninfo: &str, acknowledged: &[String], folder: &Path) {
    let file = folder.join("acknowledged");
    std::fs::write(&file, acknowledged.join("\n")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/check.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(conninfo)
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!("checked: {}", said.trim());
}
