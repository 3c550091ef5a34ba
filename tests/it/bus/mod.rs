//! The bus: one suite of conformance, run against both implementations, and what only one of them has.
//!
//! Not in the suite, because the local bus by its nature has no second member, no outage and no topics to make:
//! `kafka_only`, `ownership`. Not in it, because Kafka's brokers take what nobody reads: `local_only`.

mod conformance;
pub mod kafka_only;
mod local_only;
pub mod ownership;
mod secured;
mod speed;

use std::sync::Arc;
use std::time::Duration;

use grid::bus::{Bus, BusOptions, KafkaBus, KafkaOptions, LocalBus, Message, Record, Subscription, migrate};

use crate::support::Kafka;

/// Shards in these tests.
const SHARDS: u16 = 4;
/// What takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which implementation a test of the suite runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Kafka,
}

impl Kind {
    /// A bus of its own.
    async fn open(self) -> Arc<dyn Bus> {
        self.open_with(&BusOptions::default()).await
    }

    async fn open_with(self, options: &BusOptions) -> Arc<dyn Bus> {
        match self {
            Self::Local => Arc::new(LocalBus::new(options, SHARDS)),
            Self::Kafka => {
                let kafka = kafka_options(Kafka::shared());
                migrate(options, &kafka, SHARDS).await.unwrap();
                Arc::new(KafkaBus::connect(options, &kafka, SHARDS).await.unwrap())
            }
        }
    }
}

/// Options for topics and a group that nobody else uses.
pub fn kafka_options(kafka: &Kafka) -> KafkaOptions {
    KafkaOptions {
        brokers: Some(kafka.brokers()),
        topic_prefix: kafka.fresh_prefix(),
        session_timeout: Duration::from_millis(1500),
        ..KafkaOptions::default()
    }
}

/// The next `count` records.
async fn receive(subscription: &mut Subscription, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let all = async {
        while records.len() < count {
            let left = count - records.len();
            subscription.recv_many(&mut records, left).await.unwrap();
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "{} of {count} records arrived in time", records.len());
    records
}

/// A message that says its number.
fn numbered(number: usize) -> Message {
    Message::new(number.to_string())
}

fn number(record: &Record) -> usize {
    std::str::from_utf8(&record.message.payload).unwrap().parse().unwrap()
}

fn numbers(records: &[Record]) -> Vec<usize> {
    records.iter().map(number).collect()
}
