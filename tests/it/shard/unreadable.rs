//! Messages that no shard can read: they are set aside, answered where somebody waits, and hold up nobody.

use std::sync::Arc;
use std::time::Duration;

use grid::bus::{Bus, BusOptions, KafkaBus, LocalBus, Message, Start, Topic, migrate};
use grid::domain::{Incarnation, JobId, RefusalCode, ShardId, Timestamp};
use grid::event::{Command, CommandMessage, Reply, ReplyAddress, Version, Wire};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{assert_the_log_is_whole, job_in};
use crate::api::{Fixture, Options, SHARDS, text};
use crate::bus::kafka_options;
use crate::support::{Kafka, eventually};

const SHARD: u16 = 1;

#[actix_web::test]
async fn in_process() {
    unreadable_messages_hold_up_nobody(Arc::new(LocalBus::new(&BusOptions::default(), SHARDS))).await;
}

#[actix_web::test]
async fn over_kafka() {
    let (options, kafka) = (BusOptions::default(), kafka_options(Kafka::shared()));
    migrate(&options, &kafka, SHARDS).await.unwrap();
    let bus = KafkaBus::connect(&options, &kafka, SHARDS).await.unwrap();
    unreadable_messages_hold_up_nobody(Arc::new(bus)).await;
}

/// A kill of a job that does not exist.
fn command(job: JobId, reply_to: Option<ReplyAddress>) -> CommandMessage {
    CommandMessage {
        v: Version,
        id: Uuid::new_v4(),
        principal: "mallory".into(),
        not_after: grid::clock::now() + Duration::from_secs(60),
        traceparent: None,
        reply_to,
        command: Command::KillJob { job },
    }
}

fn job_of(wanted: impl Fn(ShardId) -> bool) -> JobId {
    let mut jobs = (0..).map(|_| JobId(Uuid::now_v7()));
    jobs.find(|job| wanted(job.shard(SHARDS))).unwrap()
}

async fn unreadable_messages_hold_up_nobody(bus: Arc<dyn Bus>) {
    let grid = Fixture::with(Options {
        bus: Some(Arc::clone(&bus)),
        ..Options::default()
    })
    .await;
    let first = job_in(&grid, ShardId(SHARD)).await;
    let node = Incarnation(Uuid::now_v7());
    let address = |correlation| ReplyAddress {
        partition: 0,
        node,
        correlation,
    };
    let (newer, misled) = (Uuid::new_v4(), Uuid::new_v4());
    let mut replies = bus.subscribe(Topic::Replies, 0, Start::End).await.unwrap();

    let mut of_another_version: Value =
        serde_json::to_value(command(job_of(|shard| shard.0 == SHARD), Some(address(newer)))).unwrap();
    of_another_version["v"] = json!(9);
    of_another_version["command"] = json!({"type": "Levitate", "height": 3});
    let of_another_shard = command(job_of(|shard| shard.0 != SHARD), Some(address(misled)));
    let report = json!({"v": 1, "worker": "worker-w", "incarnation": Uuid::now_v7(), "sentAt": Timestamp::ZERO,
                        "items": []});
    let commands: Vec<(Vec<u8>, &str)> = vec![
        (b"{\"v\":1,\"id\":".to_vec(), "EOF"),
        (Vec::new(), "EOF"),
        (vec![0xff, 0x00, 0xfe], "expected value"),
        (b"{\"v\":1,\"id\":\"a\\u0000b\"}".to_vec(), "UUID"),
        (b"7".to_vec(), "invalid type"),
        (report.to_string().into_bytes(), "missing field"),
        (of_another_version.to_string().into_bytes(), "version 9 is unknown"),
        (of_another_shard.encode().to_vec(), "came to shard 1"),
    ];
    let mut reports = commands[..3].to_vec();
    reports.push((command(first, None).encode().to_vec(), "missing field"));
    reports.push((json!({"v": 3}).to_string().into_bytes(), "version 3 is unknown"));
    for (topic, messages) in [(Topic::Commands, &commands), (Topic::Reports, &reports)] {
        for (payload, _) in messages {
            bus.send(topic, SHARD, Message::new(payload.clone()))
                .unwrap()
                .await
                .unwrap();
        }
    }

    // What comes behind them is decided.
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{first}"), StatusCode::OK)
        .await;
    job_in(&grid, ShardId(SHARD)).await;
    let all = commands.len() + reports.len();
    let listed = eventually("all are set aside", Duration::from_secs(20), async || {
        let listed = grid.get("/api/v1/quarantine?size=100").await;
        (listed["total"] == all).then_some(listed)
    })
    .await;
    for (source, messages) in [("command", &commands), ("report", &reports)] {
        let mut items: Vec<&Value> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["source"] == source)
            .collect();
        items.sort_by_key(|item| item["place"].as_i64());
        assert_eq!(items.len(), messages.len());
        for (item, (_, why)) in items.iter().zip(messages) {
            assert!(text(&item["reason"]).contains(why), "{why} in {item:#}");
            assert_eq!(item["attempts"], 1);
        }
        let principals: Vec<&str> = items.iter().map(|item| text(&item["principal"])).collect();
        let named = principals.iter().filter(|name| **name == "mallory").count();
        assert_eq!(named, if source == "command" { 2 } else { 0 }, "{principals:?}");
    }

    // Whoever waits is told at once, even by a newer program's command.
    let mut told = Vec::new();
    while told.len() < 2 {
        let mut records = Vec::new();
        let some = replies.recv_many(&mut records, 10);
        tokio::time::timeout(Duration::from_secs(10), some)
            .await
            .unwrap()
            .unwrap();
        told.extend(
            records
                .iter()
                .map(|record| Reply::decode(&record.message.payload).unwrap())
                .filter(|reply| reply.node == node),
        );
    }
    assert_eq!((told[0].correlation, told[1].correlation), (newer, misled));
    for reply in told {
        let refusal = reply.result.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Quarantined);
        assert!(refusal.message.contains("set aside"), "{refusal}");
    }
    // Nothing of it is read again by the next owner.
    assert_the_log_is_whole(&grid).await;
    assert_eq!(grid.psql("SELECT max(attempts) FROM quarantine"), "1");
    grid.stop().await;
}
