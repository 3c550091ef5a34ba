//! The parts themselves: that what `support` starts is real, comes back after a kill, and keeps what it promised.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::{Kafka, Postgres, eventually};

#[test]
fn a_killed_broker_comes_back_on_its_port() {
    let kafka = Kafka::start();
    let cluster = cluster_id(&kafka);
    kafka.kill();
    kafka.restart();
    assert_eq!(cluster_id(&kafka), cluster);
}

#[test]
fn a_paused_broker_answers_nothing_until_resumed() {
    let kafka = Kafka::start();
    let client = client(&kafka);
    client.fetch_metadata(None, Duration::from_secs(10)).unwrap();
    kafka.pause();
    assert!(client.fetch_metadata(None, Duration::from_millis(500)).is_err());
    kafka.resume();
    client.fetch_metadata(None, Duration::from_secs(10)).unwrap();
}

#[test]
fn one_broker_serves_all_tests_with_names_of_their_own() {
    let kafka = Kafka::shared();
    assert!(std::ptr::eq(kafka, Kafka::shared()));
    assert_ne!(kafka.fresh_prefix(), kafka.fresh_prefix());
    assert_ne!(kafka.sasl_brokers(), kafka.brokers());
}

#[tokio::test]
async fn a_condition_that_comes_true_is_seen() {
    let asked = std::cell::Cell::new(0);
    let third = eventually("the third question", Duration::from_secs(5), async || {
        asked.set(asked.get() + 1);
        (asked.get() == 3).then_some("yes")
    });
    assert_eq!(third.await, "yes");
}

fn client(kafka: &Kafka) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.brokers())
        .set("broker.address.family", "v4");
    config.create().unwrap()
}

fn cluster_id(kafka: &Kafka) -> String {
    client(kafka)
        .client()
        .fetch_cluster_id(Duration::from_secs(10))
        .unwrap()
}

#[test]
fn a_killed_database_keeps_what_was_committed() {
    let postgres = Postgres::start();
    let url = postgres.fresh_database();
    postgres.psql(&url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    postgres.kill();
    postgres.restart();
    assert_eq!(postgres.psql(&url, "SELECT n FROM kept"), "7");
}

#[test]
fn fresh_databases_are_apart() {
    let postgres = Postgres::shared();
    let (one, other) = (postgres.fresh_database(), postgres.fresh_database());
    postgres.psql(&one, "CREATE TABLE only_here (n int)");
    assert_eq!(
        postgres.psql(&other, "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"),
        "0"
    );
}
