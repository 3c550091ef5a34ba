//! Following everything at one of two jobmasters, each of which owns a part of the shards.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::stream::{Stream, place};
use crate::faults::check::psql;
use crate::faults::cluster::{Cluster, Patience};
use crate::support::{Kafka, Postgres, eventually};

const EVENTS: &str = "subscription ($after: String, $fromStart: Boolean! = false) {
    events(after: $after, fromStart: $fromStart) { event { position } position } }";

/// Adds what comes until `upto` says that it is enough.
async fn follow(stream: &mut Stream, have: &mut BTreeMap<u16, u64>, enough: impl Fn(&BTreeMap<u16, u64>) -> bool) {
    while !enough(have) {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
        let data = next.expect("an item within a minute").expect("the stream to go on");
        let item = &data["events"];
        if item["event"].is_null() {
            continue;
        }
        let (shard, seq) = place(&item["event"]["position"]);
        let at = have.entry(shard).or_default();
        assert_eq!(seq, *at + 1, "shard {shard}: neither a gap nor a repeat");
        *at = seq;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_followed_at_one_jobmaster_across_the_death_of_the_other() {
    let mut cluster = Cluster::start(Postgres::shared(), Kafka::shared(), Patience::Short, 1).await;
    let load = cluster.load();
    load.goes_on().await;
    let mut stream = Stream::open(&cluster.jobmasters[0].url, EVENTS, &json!({"fromStart": true})).await;
    let mut have = BTreeMap::new();
    follow(&mut stream, &mut have, |have| have.values().sum::<u64>() > 500).await;
    let heir = cluster.incarnation(0).await;
    cluster.jobmasters[1].kill();
    let owned = eventually("the shards to be taken over", Duration::from_secs(60), async || {
        (cluster.owned(&heir) == 8).then_some(())
    });
    let taken_over = async {
        owned.await;
        let heads = psql(&cluster.database, "SELECT sum(next_seq - 1) FROM shards");
        heads.trim().parse::<u64>().unwrap()
    };
    let heads = taken_over.await;
    // What was committed before and after the takeover, by either.
    follow(&mut stream, &mut have, |have| have.values().sum::<u64>() > heads + 200).await;
    drop(stream);
    cluster.jobmasters[1].restart();
    cluster.jobmasters[1].ready().await;
    cluster.finish(load, "WORKER_LOST,TIMEOUT").await;
}
