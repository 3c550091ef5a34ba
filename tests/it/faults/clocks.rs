//! Fault: the clocks of machines differ. Must hold: somebody is told whose, by how much, and what to do.

use std::time::Duration;

use grid::domain::{Incarnation, Labels};
use grid::event::{Beat, Version, Wire, WorkerBeat};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

use super::process::{Folder, Grid};
use crate::docs::case::runs;
use crate::docs::session::Session;
use crate::support::{Kafka, Postgres};

const SECTION: &str = "Clocks differ";

/// A heartbeat as a worker sends it whose machine is so far ahead.
fn beat(ahead: Duration) -> Vec<u8> {
    let now = grid::clock::now();
    let beat = Beat::Worker(WorkerBeat {
        v: Version,
        worker: "worker-a".parse().unwrap(),
        incarnation: Incarnation(Uuid::now_v7()),
        timeline: None,
        sent_at: now,
        clock: Some(now + ahead),
        endpoint_url: "http://127.0.0.1:1".to_owned(),
        max_capacity: 1,
        running: 0,
        queued: 0,
        labels: Labels::new(),
        draining: false,
        cordoned: false,
        leaving: false,
        cpu_cores: 0.0,
        memory_bytes: 0,
        grants: Vec::new(),
    });
    beat.encode().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_differ_are_told_of() {
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let (database, prefix) = (postgres.fresh_database(), kafka.fresh_prefix());
    let folder = Folder::new("/tmp");
    let topics = format!("kafka.topic_prefix={prefix}");
    let migrated = std::process::Command::new(env!("CARGO_BIN_EXE_grid"))
        .args(["migrate", "--shards", "4", "--postgres", &database])
        .args(["--kafka", &kafka.brokers(), "--set", &topics])
        .output()
        .unwrap();
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    // To the service, the database's clock is two minutes behind.
    let name = database.rsplit_once('/').unwrap().1;
    postgres.psql(
        &database,
        &format!(
            "CREATE SCHEMA behind; GRANT USAGE ON SCHEMA behind TO grid;
             CREATE FUNCTION behind.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                 AS $$ SELECT pg_catalog.clock_timestamp() - interval '2 minutes' $$;
             ALTER ROLE grid IN DATABASE {name} SET search_path = behind, pg_catalog, public"
        ),
    );
    let service = database.replace("//postgres@", "//grid@");
    let arguments = [
        "jobmaster",
        "--postgres",
        &service,
        "--kafka",
        &kafka.brokers(),
        "--set",
        &topics,
    ];
    let mut jobmaster = Grid::start(folder.path(), "jobmaster", arguments.map(str::to_owned).to_vec());
    jobmaster.ready().await;

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers());
    let producer: FutureProducer = config.create().unwrap();
    let (topic, beat) = (format!("{prefix}heartbeats"), beat(Duration::from_secs(90)));
    let record = FutureRecord::<(), _>::to(&topic).payload(&beat).partition(0);
    producer.send(record, Duration::from_secs(20)).await.unwrap();

    let server = vec![("GRID_SERVER", jobmaster.url.clone())];
    let mut session = Session::at(folder.path(), server);
    let at = database.split('@').nth(1).unwrap().split('/').next().unwrap();
    let place = format!("database {name} at {at}");
    let changes = [
        ("journalctl --unit grid-jobmaster", "cat jobmaster.log"),
        ("database grid at db:5432", &*place),
    ];
    runs(&mut session, SECTION, &changes);
    jobmaster.stop();
}
