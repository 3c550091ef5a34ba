//! What must hold at the end: the checker of its own (check.py), and `grid verify`.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::load::{Load, all_finished};
use super::process::no_stray_processes;
use crate::support::{Kafka, Postgres, eventually};

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
    programs.never_overlapped(ended.server).await;
    std::fs::write(ended.folder.join(ACKNOWLEDGED), acknowledged.join("\n")).unwrap();
    if let Some((kafka, topic)) = ended.topic {
        let heads = "SELECT string_agg(shard || ':' || next_seq - 1, ',') FROM shards WHERE next_seq > 1";
        kafka.read_topic(topic, &psql(ended.conninfo, heads), &ended.folder.join(MESSAGES));
    }
    let output = checker(ended.folder, ended.conninfo, ended.never);
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

/// Files in the folder of a test.
const ACKNOWLEDGED: &str = "acknowledged";
const MESSAGES: &str = "messages";

fn checker(folder: &Path, conninfo: &str, never: &str) -> Output {
    let mut checker = Command::new("python3");
    checker
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/check.py"))
        .args(["--database", conninfo, "--never", never, "--acknowledged"])
        .arg(folder.join(ACKNOWLEDGED));
    let messages = folder.join(MESSAGES);
    if messages.exists() {
        checker.arg("--messages").arg(messages);
    }
    checker.output().unwrap()
}

/// What the checker must find when somebody does it to a database, and how it says so.
const TAMPERINGS: [(&str, &str); 7] = [
    ("DELETE FROM events WHERE shard = 1 AND seq = 5", "has gaps or repeats"),
    (
        "UPDATE events SET payload = convert_to(convert_from(payload, 'UTF8') || ' ', 'UTF8') WHERE shard = 1 AND seq = 5",
        "are not those of its events",
    ),
    (
        "UPDATE batches SET prev_hash = hash WHERE shard = 1 AND first_seq > 5",
        "the chain of shard 1 is broken",
    ),
    (
        "INSERT INTO events SELECT day, job, task, version + 1, shard, worker, \
         (SELECT max(seq) + 1 FROM events WHERE shard = 1), payload FROM events \
         WHERE shard = 1 AND convert_from(payload, 'UTF8') LIKE '{\"type\":\"TaskCompleted\"%' LIMIT 1",
        "completed 2 times",
    ),
    (
        "DELETE FROM events WHERE job = (SELECT job FROM events WHERE NOT worker ORDER BY job LIMIT 1)",
        "was acknowledged and is not in the log",
    ),
    (
        "UPDATE grid_read.jobs SET completed = completed + 1 WHERE id = (SELECT min(id::text)::uuid FROM grid_read.jobs)",
        "read model of job",
    ),
    (
        "UPDATE grid_read.tasks SET state = 'RUNNING' WHERE number = 1",
        "read model of task 1",
    ),
];

/// A checker that finds nothing may be one that cannot: shows it copies of a database, left by [`check`] and used by
/// nobody any more, that somebody has tampered with.
pub fn finds_what_is_wrong(postgres: &Postgres, folder: &Path, database: &str) {
    let finds = |database: &str, folder: &Path, never: &str, what: &str| {
        let output = checker(folder, database, never);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(1) && said.contains(what),
            "it should say {what:?}: {}, {said}",
            output.status
        );
    };
    for (sql, what) in TAMPERINGS {
        let copy = postgres.copy(database);
        postgres.psql(&copy, &format!("SET session_replication_role = replica; {sql}"));
        finds(&copy, folder, "", what);
    }
    let messages = std::fs::read_to_string(folder.join(MESSAGES)).unwrap();
    let of_shard = |line: &&str| line.starts_with("1\t");
    // A worker may come or go after the topic was read.
    let of_job = |line: &&str| of_shard(line) && !line.contains("\tce_type=grid.Worker");
    let (last, middle) = (
        messages.lines().rfind(of_job).unwrap(),
        messages.lines().filter(of_job).nth(4).unwrap(),
    );
    // After a takeover an event may be in the topic several times: it lacks only when each of them does.
    let without = |lost: &str| {
        let kept = messages
            .lines()
            .filter(|line| !(of_shard(line) && position(line) == position(lost)));
        kept.map(|line| format!("{line}\n")).collect::<String>()
    };
    let altered = messages.replace(middle, &middle.replace('{', "{ "));
    for (topic, what) in [
        (without(middle), "a reader of partition 1"),
        (without(last), "a reader of partition 1"),
        (altered, "is not the event that the log has there"),
    ] {
        std::fs::write(folder.join(MESSAGES), topic).unwrap();
        finds(database, folder, "", what);
    }
    std::fs::write(folder.join(MESSAGES), messages).unwrap();
    assert_eq!(checker(folder, database, "").status.code(), Some(0));
}

/// The header of a message that says which event it holds.
fn position(message: &str) -> &str {
    let mut headers = message.split('\t').filter(|field| field.starts_with("ce_position="));
    headers.next().unwrap()
}

/// One value, by psql; empty when the server does not answer.
pub fn psql(conninfo: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-d", conninfo, "-c", sql])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
