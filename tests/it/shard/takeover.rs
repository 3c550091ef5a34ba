//! How shards change hands between processes that live.

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use grid::bus::Bus;
use grid::config::Secret;
use grid::domain::Incarnation;
use grid::log::{Log, migrate};
use grid::projection::{ProjectionOptions, ProjectorHandle, ProjectorParts, Watermarks, Writer};
use grid::shard::JobmasterOptions;
use uuid::Uuid;

use crate::api::fixture::{self, SHARDS, shards};
use crate::bus::kafka_only::{another, made};
use crate::bus::kafka_options;
use crate::bus::ownership::Holder;
use crate::log::service;
use crate::support::{Kafka, Postgres, eventually};

/// A process whose database refuses it holds nobody up who may have more luck.
#[actix_web::test]
async fn a_shard_that_cannot_be_opened_is_given_back_at_once() {
    let postgres = Postgres::shared();
    let url = postgres.fresh_database();
    migrate(&Secret::new(url.clone()), SHARDS).await.unwrap();
    let log = Log::connect(service(&url)).await.unwrap();
    // Written by a newer program, as far as anybody can see.
    postgres.psql(&url, "UPDATE shards SET log_format = 1000");
    let mut kafka = kafka_options(Kafka::shared());
    kafka.revoke_timeout = Duration::from_secs(120);
    let bus: Arc<dyn Bus> = Arc::new(made(&kafka).await);
    let projector = ProjectorHandle::start(
        ProjectorParts {
            options: ProjectionOptions::default(),
            writer: Writer::new(log.pool()),
            log: Arc::new(log.clone()),
            watermarks: Watermarks::new(SHARDS, log.pool().clone()),
        },
        Arbiter::current(),
    );
    let node = Incarnation(Uuid::now_v7());
    let live = fixture::live(&log, SHARDS).await;
    let followers = (&projector, &live);
    let (supervisor, _journal, _directory) = shards(&log, &bus, followers, node, JobmasterOptions::default()).await;
    eventually(
        "shards to be assigned, and refused",
        Duration::from_secs(30),
        async || {
            let waiting = supervisor.host().waiting_for();
            waiting
                .contains(&format!("shards: 0 of {SHARDS} are loaded"))
                .then_some(())
        },
    )
    .await;
    let other = another(&kafka).await;
    let mut other = Holder::new(other.join().await.unwrap());
    other.until_holding(usize::from(SHARDS) / 2).await;
    supervisor.leave().await;
    other.until_holding(usize::from(SHARDS)).await;
    log.close().await;
}
