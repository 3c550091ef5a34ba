//! What must hold at the end: the checker of its own (check.py), and `grid verify`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::load::{Load, all_finished};
use super::process::no_stray_processes;
use crate::support::{Kafka, eventually};

/// Where the end of a test can be looked at.
pub struct Ended<'a> {
    pub folder: &'a Path,
    /// An API.
    pub server: &'a str,
    /// As psql takes it, of a user who may read everything.
    pub conninfo: &'a str,
    /// How `grid verify` finds the database.
    pub verify: &'a [&'a str],
    /// The broker, and the topic of events.
    pub topic: Option<(&'a Kafka, &'a str)>,
    /// Reasons for which no task may have failed.
    pub never: &'a str,
}

/// Stops the load, waits until everything has come to its end, and checks all of it.
pub async fn check(load: Load, ended: Ended<'_>) {
    const PATIENCE: Duration = Duration::from_secs(180);
    let programs = load.programs.clone();
    let acknowledged = load.stop();
    all_finished(ended.server, &acknowledged, PATIENCE).await;
    // Jobs whose answer was cut off may still be under way.
    eventually("everything to come to its end", PATIENCE, async || {
        let unfinished = "SELECT count(*) FROM grid_read.jobs WHERE finished_at IS NULL";
        (psql(ended.conninfo, unfinished) == "0").then_some(())
    })
    .await;
    no_stray_processes(programs.marker());
    programs.never_overlapped();
    let promised = ended.folder.join("acknowledged");
    std::fs::write(&promised, acknowledged.join("\n")).unwrap();
    let mut checker = Command::new("python3");
    checker
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/check.py"))
        .args(["--database", ended.conninfo, "--never", ended.never, "--acknowledged"])
        .arg(&promised);
    if let Some((kafka, topic)) = ended.topic {
        let messages = ended.folder.join("messages");
        let heads = "SELECT string_agg(shard || ':' || next_seq - 1, ',') FROM shards WHERE next_seq > 1";
        kafka.read_topic(topic, &psql(ended.conninfo, heads), &messages);
        checker.arg("--messages").arg(messages);
    }
    let output = checker.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!("checked: {}", said.trim());
    let verified = Command::new(env!("CARGO_BIN_EXE_grid"))
        .arg("verify")
        .args(ended.verify)
        .output()
        .unwrap();
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&verified.stdout),
        String::from_utf8_lossy(&verified.stderr)
    );
}

/// One value, by psql; empty when the server does not answer.
pub fn psql(conninfo: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-d", conninfo, "-c", sql])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
