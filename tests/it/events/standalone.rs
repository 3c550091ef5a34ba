//! `grid standalone --kafka`: everything in one process, and its events on a real topic.

use std::time::Duration;

use serde_json::json;

use super::consumer::{Consumer, agrees, validate};
use crate::faults::load::{all_finished, submitted};
use crate::faults::process::{Folder, Grid};
use crate::support::{Kafka, Postgres};

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_over_kafka_runs_jobs_and_publishes_them() {
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let (folder, prefix, database) = (Folder::new("/tmp"), kafka.fresh_prefix(), postgres.fresh_database());
    let data = folder.path().join("data");
    let arguments = [
        "standalone",
        "--kafka",
        &kafka.brokers(),
        "--postgres",
        &database.replace("//postgres@", "//grid@"),
        "--data-dir",
        data.to_str().unwrap(),
        "--slots",
        "4",
        "--set",
        &format!("kafka.topic_prefix={prefix}"),
        "--set",
        &format!("postgres.owner_url={database}"),
        "--set",
        "shards.count=4",
    ];
    let mut grid = Grid::start(folder.path(), "standalone", arguments.map(str::to_owned).to_vec());
    grid.ready().await;
    let mut jobs = Vec::new();
    for replicas in [1, 20, 3] {
        let document = json!({ "tasks": [
            { "externalId": "noop", "replicas": replicas, "executor": "noop" },
            { "externalId": "program", "command": ["sh", "-c", "echo here"] },
        ] });
        jobs.push(submitted(&grid.url, &document).await);
    }
    all_finished(&grid.url, &jobs, Duration::from_secs(60)).await;
    let heads = postgres.psql(
        &database,
        "SELECT string_agg(shard || ':' || next_seq - 1, ',') FROM shards WHERE next_seq > 1",
    );
    let topic = format!("{prefix}events");
    let mut consumer = Consumer::new(&kafka.brokers(), &topic, &folder.path().join("state.json"));
    assert_eq!(agrees(&mut consumer, &heads, &grid.url).await, 3);
    let counts = validate(&kafka.brokers(), &topic, &heads);
    assert_eq!(counts["grid.TaskCompleted.v1"], 27, "{counts:?}");
    assert_eq!(counts["grid.WorkerRegistered.v1"], 1, "{counts:?}");
    grid.stop();
}
