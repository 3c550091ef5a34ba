//! A backup that was made under load is loaded into an empty database, and everybody goes on from there: what came after it
//! has not happened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::consumer::{Consumer, agrees, jobs_of_the_api};
use crate::faults::check::psql;
use crate::faults::cluster::{Cluster, Patience};
use crate::faults::load::{all_finished, get, submitted};
use crate::support::{Kafka, Postgres, eventually};

const PATIENCE: Duration = Duration::from_secs(90);

/// Exit code, stdout as JSON, stderr.
fn told(mut command: Command) -> (Option<i32>, Value, String) {
    let output = command.args(["--output", "json"]).output().unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), answer, String::from_utf8(output.stderr).unwrap())
}

fn succeeds(command: Command) -> Value {
    let (code, answer, error) = told(command);
    assert_eq!(code, Some(0), "{error}");
    answer
}

fn refused(command: Command, why: &str) {
    let (code, answer, error) = told(command);
    assert_eq!((code, answer), (Some(1), Value::Null), "{error}");
    assert!(error.contains(why), "{error}");
}

/// The log is whole, and the read models say what it says.
fn verifies(database: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grid"));
    command.args(["verify", "--postgres", &database.replace("//postgres@", "//grid@")]);
    succeeds(command);
}

async fn runs(server: &str, job: &str) {
    eventually("the job's task to run", PATIENCE, async || {
        let job = get(server, &format!("/api/v1/jobs/{job}")).await;
        (job["taskCounters"]["running"] == 1).then_some(())
    })
    .await;
}

fn attempt(task: &Value) -> Option<u64> {
    task["attempt"].as_u64()
}

/// What was so when the backup was begun.
struct Before {
    acknowledged: BTreeSet<String>,
    /// Its task runs until the test lets it end.
    under_way: String,
    backup: PathBuf,
}

/// Makes a backup while jobs are submitted, and lets things happen after it; gives a job that came then, whose task runs.
async fn back_up(cluster: &Cluster<'_>, postgres: &Postgres, go: &Path) -> (Before, String) {
    let server = cluster.jobmasters[0].url.clone();
    let script = format!("until test -e {}; do sleep 0.05; done", go.display());
    let waits = json!({ "tasks": [cluster.programs.group("waits", 1, &script)] });
    let under_way = submitted(&server, &waits).await;
    runs(&server, &under_way).await;
    let load = cluster.load();
    load.goes_on().await;
    let acknowledged: BTreeSet<String> = jobs_of_the_api(&server).await.into_keys().collect();
    let backup = cluster.folder().join("backup.dump");
    postgres.dump(&cluster.database, &backup);
    let lost = submitted(&server, &waits).await;
    runs(&server, &lost).await;
    load.goes_on().await;
    let jobs = load.stop();
    all_finished(&server, &jobs, PATIENCE).await;
    // Jobs whose answer was cut off as well.
    eventually("all but two jobs to come to their end", PATIENCE, async || {
        let unfinished = "SELECT count(*) FROM grid_read.jobs WHERE finished_at IS NULL";
        (psql(&cluster.database, unfinished) == "2").then_some(())
    })
    .await;
    let before = Before {
        acknowledged,
        under_way,
        backup,
    };
    (before, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_everybody_goes_on_from_the_backup() {
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let mut cluster = Cluster::start(postgres, kafka, Patience::Short, 1).await;
    let (brokers, topic) = (kafka.brokers(), cluster.topic());
    let go = cluster.folder().join("go");
    let (before, lost) = back_up(&cluster, postgres, &go).await;
    let mut reader = Consumer::new(&brokers, &topic, &cluster.folder().join("reader.json"));
    agrees(&mut reader, &cluster.heads(), &cluster.jobmasters[0].url).await;

    // Nothing is begun while somebody works on the old log, or where there is none.
    let restored = postgres.loaded(&before.backup);
    let old = cluster.database.clone();
    let restore = |cluster: &Cluster<'_>, database: &str| cluster.command_on(database, &["restore"]);
    refused(restore(&cluster, &old), "processes of grid use this database (grid");
    refused(restore(&cluster, &restored), "jobmasters beat on these topics (");
    refused(
        restore(&cluster, &postgres.fresh_database()),
        "the database holds no log",
    );
    let timeline = "SELECT timeline FROM log_meta";
    assert_eq!(psql(&restored, timeline), psql(&old, timeline));
    cluster
        .jobmasters
        .drain(..)
        .for_each(crate::faults::process::Grid::stop);

    let epochs = psql(&restored, "SELECT max(epoch) FROM shards").parse::<u64>().unwrap();
    // Whoever has just ended might only be paused.
    let done = eventually("the jobmasters to be silent", PATIENCE, async || {
        let (code, answer, error) = told(restore(&cluster, &restored));
        let silent = code == Some(0);
        assert!(silent || error.contains("jobmasters beat on these topics"), "{error}");
        silent.then_some(answer)
    })
    .await;
    assert_eq!(done["already"], false, "{done}");
    assert_eq!(done["previous"], psql(&old, timeline));
    assert_eq!(done["timeline"], psql(&restored, timeline));
    assert!(done["epoch"].as_u64() >= Some(epochs + 1_000_000), "{done}");
    let again = succeeds(restore(&cluster, &restored));
    assert_eq!(
        (&again["already"], &again["timeline"]),
        (&json!(true), &done["timeline"])
    );

    cluster.database = restored.clone();
    verifies(&restored);
    let republished = succeeds(cluster.command(&["events", "republish"]));
    assert_ne!(republished["events"], 0, "{republished}");
    cluster.start_jobmasters(1);
    cluster.jobmasters[0].ready().await;
    let server = cluster.jobmasters[0].url.clone();
    let there: BTreeSet<String> = jobs_of_the_api(&server).await.into_keys().collect();
    assert!(
        there.is_superset(&before.acknowledged),
        "{there:?} {:?}",
        before.acknowledged
    );
    assert!(!there.contains(&lost), "it came after the backup");

    // The worker from before hears of the new timeline and ends; what it ran is run again by the next.
    let said = cluster.workers[0].ends_badly();
    assert!(said.contains("has a new timeline: start this worker again"), "{said}");
    cluster.start_worker_anew(0);
    std::fs::write(&go, "").unwrap();
    let more = submitted(
        &server,
        &json!({ "tasks": [{ "externalId": "t", "replicas": 50, "executor": "noop" }] }),
    )
    .await;
    let all: Vec<String> = there.into_iter().chain([more]).collect();
    all_finished(&server, &all, PATIENCE).await;
    let task = get(&server, &format!("/api/v1/jobs/{}/tasks", before.under_way)).await["items"][0].clone();
    assert_eq!(
        (&task["state"], attempt(&task)),
        (&json!("COMPLETED"), Some(2)),
        "{task}"
    );
    cluster.programs.never_overlapped(&server).await;

    // Whoever read before starts over, and knows then what the log says and nothing else.
    reader.of_timeline(done["timeline"].as_str().unwrap());
    let known = agrees(&mut reader, &cluster.heads(), &server).await;
    assert_eq!(known, all.len());

    // A jobmaster of the old database does not come between them.
    cluster.database = old;
    let new = std::mem::take(&mut cluster.jobmasters);
    cluster.start_jobmasters(1);
    let said = cluster.jobmasters[0].ends_badly();
    assert!(
        said.contains(&format!(
            "others work on its timeline {}",
            done["timeline"].as_str().unwrap()
        )),
        "{said}"
    );
    cluster.database = restored.clone();
    cluster.jobmasters = new;
    refused(restore(&cluster, &restored), "processes of grid use this database");
    verifies(&restored);
    cluster.stop();
    // Without Kafka nobody's silence is waited for.
    eventually("the last connection to be closed", PATIENCE, async || {
        let mut once_more = Command::new(env!("CARGO_BIN_EXE_grid"));
        once_more.args(["restore", "--postgres", &restored]);
        let (code, _, error) = told(once_more);
        assert_eq!(code, Some(1), "{error}");
        error.contains("grid restore --again").then_some(())
    })
    .await;
}
