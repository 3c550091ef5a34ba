//! The topic is lost and filled again from the log, while jobmasters run and after one run was killed.

use std::process::Stdio;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use super::consumer::{Consumer, agrees, validate};
use crate::faults::check::psql;
use crate::faults::cluster::{Cluster, Patience};
use crate::faults::load::{all_finished, submitted};
use crate::support::{Kafka, Postgres, eventually};

const PATIENCE: Duration = Duration::from_secs(90);

async fn run_jobs(cluster: &Cluster<'_>, count: u32, replicas: u32) {
    let server = &cluster.jobmasters[0].url;
    let mut jobs = Vec::new();
    for _ in 0..count {
        let document = json!({ "tasks": [{ "externalId": "t", "replicas": replicas, "executor": "noop" }] });
        jobs.push(submitted(server, &document).await);
    }
    all_finished(server, &jobs, PATIENCE).await;
}

async fn delete_topic(kafka: &Kafka, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers())
        .set("broker.address.family", "v4")
        .create()
        .unwrap();
    let deleted = admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
}

fn republish(cluster: &Cluster<'_>) -> Value {
    let output = cluster
        .command(&["events", "republish", "--output", "json"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_topic_is_filled_from_the_log_and_readers_go_on() {
    // Of its own: an empty topic is one whose messages nobody else deletes.
    let kafka = Kafka::start();
    let cluster = Cluster::start(Postgres::shared(), &kafka, Patience::Short, 1).await;
    let server = cluster.jobmasters[0].url.clone();
    let (brokers, topic) = (kafka.brokers(), cluster.topic());
    run_jobs(&cluster, 24, 150).await;
    let mut early = Consumer::new(&brokers, &topic, &cluster.folder().join("early.json"));
    assert_eq!(agrees(&mut early, &cluster.heads(), &server).await, 24);

    delete_topic(&kafka, &topic).await;
    // Made anew by the command, which is killed when it has published a part.
    let epochs = "SELECT coalesce(max(published_seq), 0) FROM shards WHERE owner = 'republish'";
    let mut killed = cluster
        .command(&["events", "republish", "--set", "publish.page_events=20"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("some of it to be published", PATIENCE, async || {
        (psql(&cluster.database, epochs).parse::<u64>().unwrap_or(0) > 100).then_some(())
    })
    .await;
    killed.kill().unwrap();
    let ended = killed.wait().unwrap();
    assert!(!ended.success(), "it had published everything before it was killed");

    // Jobs go on meanwhile: owners find that they are fenced, and publish the rest of their shards themselves.
    run_jobs(&cluster, 4, 10).await;
    let done = republish(&cluster);
    eprintln!("{done}");
    run_jobs(&cluster, 4, 10).await;
    let heads = cluster.heads();
    // Whoever read before goes on, and whoever comes now gets everything.
    assert_eq!(agrees(&mut early, &heads, &server).await, 32);
    let mut late = Consumer::new(&brokers, &topic, &cluster.folder().join("late.json"));
    assert_eq!(agrees(&mut late, &heads, &server).await, 32);
    validate(&brokers, &topic, &heads);
    // Again it finds nothing to do, and takes no shard from anybody.
    let before = psql(&cluster.database, "SELECT sum(epoch) FROM shards");
    // It says what it cannot have.
    psql(
        &cluster.database,
        "INSERT INTO retired_days (day, events) VALUES (20000, 7)",
    );
    let done = republish(&cluster);
    assert_eq!((&done["events"], &done["complete"]), (&json!(0), &json!(8)), "{done}");
    assert_eq!(done["archived"], 7, "{done}");
    assert_eq!(psql(&cluster.database, "SELECT sum(epoch) FROM shards"), before);
    run_jobs(&cluster, 1, 1).await;
    cluster.stop();
}
