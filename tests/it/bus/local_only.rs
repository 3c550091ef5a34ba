//! What only the bus inside the process has: it holds what is not read, and forgets what nobody will ask for.

use std::time::{Duration, Instant};

use grid::bus::{Bus, BusOptions, LocalBus, Message, SendError, Start, Topic};

use super::{SHARDS, numbered, numbers, receive};

#[test]
fn every_process_has_a_bus_of_its_own() {
    let (one, other) = (
        LocalBus::new(&BusOptions::default(), SHARDS),
        LocalBus::new(&BusOptions::default(), SHARDS),
    );
    assert_ne!(one.identity(), other.identity());
}

#[tokio::test]
async fn whoever_waits_for_room_is_told_when_there_is_none_in_time() {
    let bus = LocalBus::new(
        &BusOptions {
            partition_bytes: 1024,
            ..BusOptions::default()
        },
        SHARDS,
    );
    while bus.post(Topic::Commands, 0, Message::new("x")) {}
    let started = Instant::now();
    let patience = Duration::from_millis(100);
    let waited = bus.send_wait(Topic::Commands, 0, Message::new("x"), patience).await;
    assert_eq!(waited.err().unwrap(), SendError::Full { topic: Topic::Commands });
    assert!(started.elapsed() >= patience);
    // The other partitions have room.
    assert!(bus.post(Topic::Commands, 1, Message::new("x")));
}

#[tokio::test]
async fn commands_stay_until_trimmed_and_replies_while_somebody_reads() {
    let bus = LocalBus::new(&BusOptions::default(), SHARDS);
    for n in 0..10 {
        assert!(bus.post(Topic::Commands, 0, numbered(n)));
        assert!(bus.post(Topic::Replies, 0, numbered(n)));
    }
    assert_eq!(bus.range(Topic::Replies, 0).await.unwrap(), (10, 10));
    assert_eq!(bus.range(Topic::Commands, 0).await.unwrap(), (0, 10));
    let mut reader = bus.subscribe(Topic::Commands, 0, Start::Beginning).await.unwrap();
    receive(&mut reader, 6).await;
    assert_eq!(bus.range(Topic::Commands, 0).await.unwrap(), (0, 10));
    bus.trim(Topic::Commands, 0, 4);
    assert_eq!(bus.range(Topic::Commands, 0).await.unwrap(), (4, 10));
    // What is still to be read stays whatever is said.
    bus.trim(Topic::Commands, 0, 100);
    assert_eq!(bus.range(Topic::Commands, 0).await.unwrap(), (6, 10));
    assert_eq!(numbers(&receive(&mut reader, 4).await), [6, 7, 8, 9]);

    let mut replies = bus.subscribe(Topic::Replies, 0, Start::End).await.unwrap();
    let unread = bus.subscribe(Topic::Replies, 0, Start::End).await.unwrap();
    assert!(bus.post(Topic::Replies, 0, numbered(10)));
    receive(&mut replies, 1).await;
    assert_eq!(bus.range(Topic::Replies, 0).await.unwrap(), (10, 11));
    drop(unread);
    assert_eq!(bus.range(Topic::Replies, 0).await.unwrap(), (11, 11));
}

#[tokio::test]
async fn a_publisher_that_nobody_reads_is_never_full() {
    let bus = LocalBus::new(
        &BusOptions {
            partition_bytes: 1024,
            ..BusOptions::default()
        },
        SHARDS,
    );
    let mut producer = bus.ordered_producer().unwrap();
    for _ in 0..100 {
        let batch = (0..100).map(|n| (0, numbered(n))).collect();
        producer.begin(batch).unwrap().await.unwrap();
    }
    assert_eq!(bus.range(Topic::Events, 0).await.unwrap(), (10_000, 10_000));
}

#[tokio::test]
async fn a_publisher_behind_a_slow_reader_waits_or_is_interrupted_but_never_out_of_order() {
    let bus = LocalBus::new(
        &BusOptions {
            partition_bytes: 2048,
            ..BusOptions::default()
        },
        SHARDS,
    );
    let mut reader = bus.subscribe(Topic::Events, 0, Start::End).await.unwrap();
    let mut producer = bus.ordered_producer().unwrap();
    let batch = |from: usize| (from..100).map(|n| (0, numbered(n))).collect::<Vec<_>>();
    let failed = producer.begin(batch(0)).unwrap().await.err().unwrap();
    assert!(failed.index > 0);
    let interrupted = producer.begin(batch(failed.index)).err().unwrap();
    assert_eq!(interrupted, SendError::Interrupted { topic: Topic::Events });
    producer.resume().await;
    let publishing = producer.publish(batch(failed.index), Duration::from_secs(10));
    let (published, records) = tokio::join!(publishing, receive(&mut reader, 100));
    published.unwrap();
    assert_eq!(numbers(&records), (0..100).collect::<Vec<_>>());
}
