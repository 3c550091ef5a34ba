//! Fault: Postgres dies between a submission's document and its job. Must hold: the command outlives it on the bus, so
//! the document is there when a shard makes the job.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use grid::api::ApiOptions;
use grid::bus::{Bus, BusOptions, LocalBus, Start, Topic};
use reqwest::Method;

use super::SHARDS;
use super::{Fixture, Options};
use crate::support::Postgres;

/// Returns when a command is on the bus, whatever its shard.
async fn a_command(bus: &Arc<dyn Bus>) {
    let mut first = FuturesUnordered::new();
    for shard in 0..SHARDS {
        let mut commands = bus.subscribe(Topic::Commands, shard, Start::End).await.unwrap();
        first.push(async move { commands.recv_many(&mut Vec::new(), 1).await.unwrap() });
    }
    first.next().await;
}

#[actix_web::test]
async fn a_document_is_on_the_disk_before_its_command_is_sent() {
    let postgres = Postgres::start();
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new(&BusOptions::default(), SHARDS));
    let grid = Fixture::with(Options {
        api: ApiOptions {
            command_timeout: Duration::from_secs(1),
            ..ApiOptions::default()
        },
        bus: Some(Arc::clone(&bus)),
        shards: false,
        database: Some(postgres.fresh_database()),
        ..Options::default()
    })
    .await;
    // The server's keep-alive may pass while Postgres is started again.
    let headers = [("content-type", "application/yaml"), ("connection", "close")];
    let document = "tasks: [{ externalId: a, executor: noop }]";
    let submitted = grid.call(Method::POST, "/api/v1/jobs", &headers, document.into());
    let killed = async {
        a_command(&bus).await;
        postgres.kill();
    };
    // Without shards there is no answer.
    let (unanswered, ()) = futures::join!(submitted, killed);
    assert!(unanswered.status().is_server_error());
    postgres.restart();
    let kept = grid.psql("SELECT count(*), (SELECT count(*) FROM submissions) FROM documents");
    assert_eq!(kept, "1|1");
    grid.stop().await;
}
