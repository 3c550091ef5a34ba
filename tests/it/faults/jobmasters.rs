//! Jobmasters killed, and paused until others have taken over.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;
use reqwest::StatusCode;

use super::check::psql;
use super::cluster::{Cluster, Patience};
use super::load::{Load, get, submitted};
use super::times;
use crate::support::{Kafka, Postgres, eventually};

/// What runs goes on while a jobmaster is away, however it is away.
const NEVER: &str = "WORKER_LOST,TIMEOUT";
const TAKEOVER: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn killed_jobmasters_are_taken_over_from() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 1).await;
    let load = cluster.load();
    for _ in 0..times("JOBMASTERS", 2, 50) {
        load.goes_on().await;
        let (killed, other) = if rand::rng().random() { (0, 1) } else { (1, 0) };
        let heir = cluster.incarnation(other).await;
        cluster.jobmasters[killed].kill();
        eventually("the shards to be taken over", TAKEOVER, async || {
            (cluster.owned(&heir) == 8).then_some(())
        })
        .await;
        cluster.jobmasters[killed].restart();
        cluster.jobmasters[killed].ready().await;
    }
    cluster.finish_and_doubt(load, NEVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_jobmaster_is_fenced_and_serves_again() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 1).await;
    let load = cluster.load();
    for round in 0..times("PAUSES", 2, 20) {
        load.goes_on().await;
        let commit = if round % 2 == 0 {
            Commit::Succeeds
        } else {
            Commit::IsLost
        };
        pause(&mut cluster, &load, commit).await;
    }
    let fenced = |log: &str| log.matches("a newer owner has claimed it").count();
    let fenced: usize = cluster.jobmasters.iter().map(|it| fenced(&it.log_text())).sum();
    eprintln!("fenced {fenced} times");
    cluster.finish(load, NEVER).await;
}

/// What becomes of the commit in whose middle a jobmaster is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commit {
    /// The log has it, and the jobmaster learns of it when others have the shard.
    Succeeds,
    /// Its connection is cut.
    IsLost,
}

/// Stops jobmaster 0 in the middle of a commit, until the other has all shards; then it must step down and join again.
async fn pause(cluster: &mut Cluster<'_>, load: &Load, commit: Commit) {
    let (me, heir) = (cluster.incarnation(0).await, cluster.incarnation(1).await);
    eventually("both to have shards", TAKEOVER, async || {
        (cluster.owned(&me) > 0 && cluster.owned(&heir) > 0).then_some(())
    })
    .await;
    let locked = Locked::shards_of(&cluster.database, &me);
    let waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'grid' \
                   AND wait_event_type = 'Lock' AND query LIKE '%INTO events%'";
    let backend = eventually("a commit to wait for the lock", TAKEOVER, async || {
        Some(psql(&cluster.database, waiting)).filter(|backend| !backend.is_empty())
    })
    .await;
    cluster.jobmasters[0].pause();
    if commit == Commit::IsLost {
        psql(&cluster.database, &format!("SELECT pg_terminate_backend({backend})"));
    }
    locked.release();
    eventually("the shards to be taken over", TAKEOVER, async || {
        (cluster.owned(&heir) == 8).then_some(())
    })
    .await;
    // History goes on without it: a job that it may remember as running is killed.
    let document = serde_json::json!({ "tasks": [cluster.programs.group("long", 1, "sleep 60")] });
    let job = submitted(&cluster.jobmasters[1].url, &document).await;
    let killed = kill_job(&cluster.jobmasters[1].url, &job).await;
    load.note(&job);
    cluster.jobmasters[0].resume();
    // Nothing stale: what it says now holds what happened meanwhile.
    for _ in 0..10 {
        let path = format!("/api/v1/jobs/{job}?minPosition={killed}");
        let said = get(&cluster.jobmasters[0].url, &path).await;
        assert_eq!(said["status"], "FAILED", "after a pause: {said}");
    }
    eventually("it to serve shards again", TAKEOVER, async || {
        (cluster.owned(&me) > 0 && cluster.owned(&heir) > 0).then_some(())
    })
    .await;
    cluster.jobmasters[0].must_run();
    cluster.jobmasters[0].ready().await;
}

/// Kills a job, and waits until it has ended; gives the position of the kill.
async fn kill_job(server: &str, job: &str) -> String {
    let client = reqwest::Client::new();
    let answer = client
        .delete(format!("{server}/api/v1/jobs/kill/{job}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: serde_json::Value = answer.json().await.unwrap();
    eventually("the job to be killed", TAKEOVER, async || {
        let job = get(server, &format!("/api/v1/jobs/{job}")).await;
        (job["status"] == "FAILED").then_some(())
    })
    .await;
    answer["position"].as_str().unwrap().to_owned()
}

/// Rows of shards that are locked in a transaction of psql.
struct Locked(Child);

impl Locked {
    fn shards_of(database: &str, owner: &str) -> Self {
        let mut session = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-d", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let sql = format!("BEGIN; SELECT shard FROM shards WHERE owner = '{owner}' ORDER BY shard FOR UPDATE;\n");
        session.stdin.as_mut().unwrap().write_all(sql.as_bytes()).unwrap();
        Self(session)
    }

    fn release(mut self) {
        // The end of its input ends psql, and with it the transaction.
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
