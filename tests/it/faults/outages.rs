//! Postgres and Kafka killed under a cluster, and started again on what they left behind.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Patience};
use super::load::{Load, get, submitted};
use super::times;
use crate::support::{Kafka, Postgres, eventually};

/// What runs goes on while the log or the bus are away.
const NEVER: &str = "WORKER_LOST,TIMEOUT,KILLED";

/// A job of tasks that run for so long; all of them have begun.
async fn running(cluster: &Cluster<'_>, load: &Load, seconds: u32) -> String {
    let group = cluster.programs.group("long", 3, &format!("sleep {seconds}"));
    let server = &cluster.jobmasters[0].url;
    let job = submitted(server, &serde_json::json!({ "tasks": [group] })).await;
    load.note(&job);
    eventually("long tasks to run", Duration::from_secs(60), async || {
        let job = get(server, &format!("/api/v1/jobs/{job}")).await;
        (job["taskCounters"]["running"] == 3).then_some(())
    })
    .await;
    job
}

/// The tasks completed in their first attempt.
async fn completed_undisturbed(cluster: &Cluster<'_>, job: &str) {
    let server = &cluster.jobmasters[0].url;
    eventually("long tasks to complete", Duration::from_secs(60), async || {
        let job = get(server, &format!("/api/v1/jobs/{job}")).await;
        (job["status"] == "COMPLETED").then_some(())
    })
    .await;
    let tasks = get(server, &format!("/api/v1/jobs/{job}/tasks")).await;
    let attempts: Vec<_> = tasks["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["attempt"])
        .collect();
    assert_eq!(attempts, [1, 1, 1], "{tasks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_costs_nothing_that_was_acknowledged() {
    let postgres = Postgres::start();
    let mut cluster = Cluster::start(&postgres, Kafka::shared(), Patience::Default, 1).await;
    let load = cluster.load();
    for _ in 0..times("POSTGRES", 2, 20) {
        load.goes_on().await;
        let job = running(&cluster, &load, 4).await;
        postgres.kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        postgres.restart();
        completed_undisturbed(&cluster, &job).await;
        for jobmaster in &mut cluster.jobmasters {
            jobmaster.ready().await;
        }
    }
    load.goes_on().await;
    cluster.finish(load, NEVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_running_task_fails_while_kafka_is_away() {
    const AWAY: Duration = Duration::from_secs(15);
    let kafka = Kafka::start();
    let mut cluster = Cluster::start(Postgres::shared(), &kafka, Patience::Default, 1).await;
    let load = cluster.load();
    for _ in 0..times("KAFKA", 1, 10) {
        load.goes_on().await;
        let job = running(&cluster, &load, 18).await;
        kafka.kill();
        let begun = Instant::now();
        // What was written stays readable meanwhile.
        while begun.elapsed() < AWAY {
            let said = get(&cluster.jobmasters[1].url, &format!("/api/v1/jobs/{job}")).await;
            assert_eq!(said["taskCounters"]["running"], 3, "while Kafka is away: {said}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        kafka.restart();
        completed_undisturbed(&cluster, &job).await;
        for process in cluster.jobmasters.iter_mut().chain(&mut cluster.workers) {
            process.ready().await;
        }
    }
    load.goes_on().await;
    cluster.finish(load, NEVER).await;
}
