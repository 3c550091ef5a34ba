//! The publisher between a real log and a real topic: readers that begin at the beginning get what the log has, also
//! across a takeover and an outage of the brokers.

use std::sync::Arc;
use std::time::Duration;

use grid::bus::{Bus, BusOptions, KafkaBus, KafkaOptions, Start, Subscription, Topic, migrate};
use grid::domain::{Epoch, Seq, ShardId};
use grid::log::{Claimed, Log};
use grid::publish::{ConsumerRule, Incoming, Item, Options, Publisher, PublisherHandle, ReadLog, Verdict};
use tokio::time::timeout;

use crate::log::{Fixture, SHARDS, batch, committed, run, tinies};
use crate::support::{Kafka, eventually};

const PATIENCE: Duration = Duration::from_secs(90);
const SHARD: ShardId = ShardId(3);

async fn bus(kafka: &Kafka, prefix: &str, delivery_timeout: Duration) -> Arc<dyn Bus> {
    let options = KafkaOptions {
        brokers: Some(kafka.brokers()),
        topic_prefix: prefix.to_owned(),
        delivery_timeout,
        ..KafkaOptions::default()
    };
    migrate(&BusOptions::default(), &options, SHARDS).await.unwrap();
    Arc::new(
        KafkaBus::connect(&BusOptions::default(), &options, SHARDS)
            .await
            .unwrap(),
    )
}

fn publisher(bus: &Arc<dyn Bus>, log: &Log, timeline: uuid::Uuid) -> PublisherHandle {
    let log = log.clone();
    let read: ReadLog = Arc::new(move |shard, after, limit| {
        let log = log.clone();
        Box::pin(async move { log.events_after(shard, after, limit).await })
    });
    // Small pages and batches, so that a test of thousands has many of them.
    let options = Options {
        batch_messages: 100,
        page_events: 70,
        shard_bytes: 32 * 1024,
        ..Options::default()
    };
    Publisher::start(options, &**bus, read, timeline, 1 << 20).unwrap()
}

/// The owner of the shard: commits, and tells its publisher.
struct Owner<'a> {
    fixture: &'a Fixture,
    claimed: Claimed,
    next: Seq,
    publisher: PublisherHandle,
}

impl<'a> Owner<'a> {
    async fn claim(fixture: &'a Fixture, bus: &Arc<dyn Bus>) -> Self {
        let claimed = fixture.claim(SHARD.0).await;
        let publisher = publisher(bus, &fixture.log, claimed.timeline);
        publisher.own(SHARD, claimed.epoch, claimed.next_seq, claimed.published);
        Self {
            fixture,
            next: claimed.next_seq,
            claimed,
            publisher,
        }
    }

    /// The cursor rides in the commit.
    async fn commit(&mut self, count: usize) {
        let events = tinies(count);
        let streams: Vec<_> = events.iter().map(|event| (event.stream, event.version)).collect();
        let mut batch = batch(&self.claimed, self.next, events);
        batch.published = self.publisher.published(SHARD).unwrap();
        let committed = committed(self.fixture.journal.commit(batch).await);
        let items = streams.into_iter().zip(committed.payloads.iter()).zip(self.next.0..);
        let items: Vec<Item> = items
            .map(|(((stream, version), payload), seq)| Item {
                seq: Seq(seq),
                stream,
                version,
                payload: payload.clone(),
            })
            .collect();
        self.publisher.feed(SHARD, self.claimed.epoch, items);
        self.next = Seq(committed.last_seq.0 + 1);
    }

    async fn drained(&self) {
        let head = Seq(self.next.0 - 1);
        let drained = async || (self.publisher.published(SHARD) == Some(head)).then_some(());
        eventually("everything is published", PATIENCE, drained).await;
    }
}

/// A reader of the shard's partition, and the data that it applied.
struct Reader {
    subscription: Subscription,
    rule: ConsumerRule,
    applied: Vec<(u64, Vec<u8>)>,
    messages: usize,
    epochs: Vec<Epoch>,
}

impl Reader {
    async fn begin(bus: &Arc<dyn Bus>) -> Self {
        let subscription = bus.subscribe(Topic::Events, SHARD.0, Start::Beginning).await.unwrap();
        Self {
            subscription,
            rule: ConsumerRule::default(),
            applied: Vec::new(),
            messages: 0,
            epochs: Vec::new(),
        }
    }

    async fn read_to(&mut self, head: Seq) {
        let mut records = Vec::new();
        while self.rule.have() != Some(head) {
            let received = self.subscription.recv_many(&mut records, 1_000);
            timeout(PATIENCE, received)
                .await
                .expect("the events arrive in time")
                .unwrap();
            for record in records.drain(..) {
                let incoming = Incoming::read(&record.message).unwrap();
                self.messages += 1;
                self.epochs.push(incoming.epoch);
                if self.rule.see(&incoming) == Verdict::Apply {
                    self.applied
                        .push((incoming.position.0, record.message.payload.to_vec()));
                }
            }
        }
    }

    /// What was applied is what the log has: each once, in order, byte for byte.
    async fn must_have_the_log(&self, fixture: &Fixture, head: Seq) {
        let page = fixture.log.events_after(SHARD, Seq(0), 100_000).await.unwrap();
        assert_eq!(page.through, head);
        let log: Vec<(u64, Vec<u8>)> = page
            .events
            .iter()
            .map(|event| {
                (
                    event.position.seq.0,
                    event.header().unwrap().data.get().as_bytes().to_vec(),
                )
            })
            .collect();
        assert!(
            self.applied == log,
            "{} applied, {} in the log",
            self.applied.len(),
            log.len()
        );
    }
}

#[test]
fn a_reader_gets_the_log_once_and_in_order_across_a_takeover() {
    run(async {
        let fixture = Fixture::new().await;
        let kafka = Kafka::shared();
        let bus = bus(kafka, &kafka.fresh_prefix(), Duration::from_secs(60)).await;
        let mut reader = Reader::begin(&bus).await;

        let mut first = Owner::claim(&fixture, &bus).await;
        first.commit(50).await;
        first.drained().await;
        // More than its memory holds: the rest is read from the log. This commit stores the cursor 50.
        first.commit(3_000).await;
        first.drained().await;
        reader.read_to(Seq(3_050)).await;

        // The next owner knows of 50 only, and publishes the others again; the first one does not know that it is over.
        let mut second = Owner::claim(&fixture, &bus).await;
        assert_eq!(
            (second.claimed.published, second.claimed.epoch),
            (Seq(50), Epoch(first.claimed.epoch.0 + 1))
        );
        second.commit(10).await;
        second.drained().await;
        reader.read_to(Seq(3_060)).await;
        reader.must_have_the_log(&fixture, Seq(3_060)).await;
        assert_eq!(
            reader.messages,
            3_050 + 3_010,
            "what follows the stored cursor came twice"
        );
        assert!(reader.epochs.is_sorted());

        // A reader that comes later gets the same.
        let mut late = Reader::begin(&bus).await;
        late.read_to(Seq(3_060)).await;
        assert!(late.applied == reader.applied);
        bus.close(PATIENCE).await.unwrap();
    });
}

#[test]
fn an_outage_of_the_brokers_longer_than_the_delivery_timeout_loses_nothing() {
    run(async {
        let fixture = Fixture::new().await;
        let kafka = Kafka::start();
        let prefix = kafka.fresh_prefix();
        let bus = bus(&kafka, &prefix, Duration::from_secs(3)).await;
        let mut owner = Owner::claim(&fixture, &bus).await;
        owner.commit(200).await;
        owner.drained().await;
        kafka.kill();
        for _ in 0..20 {
            owner.commit(50).await;
        }
        // As long as the brokers are away nothing is acknowledged; the first batches are given up.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(owner.publisher.published(SHARD), Some(Seq(200)));
        kafka.restart();
        owner.commit(50).await;
        owner.drained().await;
        let mut reader = Reader::begin(&bus).await;
        reader.read_to(Seq(1_250)).await;
        reader.must_have_the_log(&fixture, Seq(1_250)).await;
        bus.close(PATIENCE).await.unwrap();
    });
}
