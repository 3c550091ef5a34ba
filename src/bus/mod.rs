//! The bus: topics of ordered partitions between API nodes, jobmasters and workers; over Kafka, or inside the process.
//!
//! Must stay true, of both implementations ([`KafkaBus`], [`LocalBus`]; one conformance suite runs against both):
//!
//! - What one process sends to one partition arrives in the order of the calls, at least once when acknowledged, and
//!   every subscription sees it at the same offset.
//! - Nothing waits without a bound: queues are bounded by bytes, a full one says [`SendError::Full`], every external
//!   call has a deadline. A subscriber that does not read holds back at most its own partition.
//! - The bus promises delivery, never truth: commands may arrive twice, and the receivers recognise them. Only
//!   [`OrderedProducer`] also promises that nothing follows a failed message.
//! - Owning a partition of [`Topic::Commands`] is proved by [`Member::prove`], not by having been told so.

mod delivery;
mod error;
mod kafka;
mod local;
mod membership;
mod message;
mod meter;
mod options;
mod ordered;
mod subscription;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use delivery::{Delivery, Publication};
pub use error::{BusError, DeliveryError, ProveError, PublishError, RecvError, SendError};
pub use kafka::{Change, KafkaBus, migrate};
pub use local::LocalBus;
pub use membership::{Member, Membership, Ownership};
pub use message::{HeaderName, Message, Record};
pub use options::{BusOptions, KafkaOptions};
pub use ordered::OrderedProducer;
pub use subscription::Subscription;
pub use topic::{Partitions, Topic};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this offset; it must lie in the partition's range.
    Offset(i64),
    /// With the first message sent after `subscribe` returned.
    End,
    /// With the oldest that is still there.
    Beginning,
}

/// The way between processes. Cheap to share: `Arc<dyn Bus>`.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Which bus this is: offsets mean something only together with it. Kafka's cluster id; of the local bus, new with
    /// every process.
    fn identity(&self) -> &str;

    /// How many partitions each topic has.
    fn partitions(&self) -> &Partitions;

    /// Sends a message; what it gives back resolves when the message is acknowledged.
    ///
    /// Never blocks. The order of calls is the order in the partition. Dropping the [`Delivery`] does not cancel.
    ///
    /// # Errors
    /// [`SendError::Full`] when too much is under way to the topic: nothing was sent, try later or use
    /// [`Bus::send_wait`]. [`SendError::TooLarge`] when key, headers and payload together pass the limit.
    fn send(&self, topic: Topic, partition: u16, message: Message) -> Result<Delivery, SendError>;

    /// As [`Bus::send`] for a sender that repeats what is not answered: costs nothing to wait for, and what goes wrong,
    /// now or later, is counted and logged. Tells whether the message was taken.
    fn post(&self, topic: Topic, partition: u16, message: Message) -> bool;

    /// As [`Bus::send`], but waits up to `patience` for room in a full queue.
    ///
    /// # Errors
    /// As [`Bus::send`].
    async fn send_wait(
        &self,
        topic: Topic,
        partition: u16,
        message: Message,
        patience: Duration,
    ) -> Result<Delivery, SendError>;

    /// The handle of a publisher to [`Topic::Events`], which must never have a message follow a failed one.
    ///
    /// # Errors
    /// When the client cannot be made.
    fn ordered_producer(&self) -> Result<OrderedProducer, BusError>;

    /// Offsets of a partition: the oldest that is there, and the one that comes next.
    ///
    /// # Errors
    /// When the broker cannot be reached in time.
    async fn range(&self, topic: Topic, partition: u16) -> Result<(i64, i64), BusError>;

    /// Reads a partition. Subscriptions are independent of each other, several of one partition too.
    ///
    /// # Errors
    /// [`BusError::OutOfRange`] when `from` lies outside what is there.
    async fn subscribe(&self, topic: Topic, partition: u16, from: Start) -> Result<Subscription, BusError>;

    /// Nobody will ask again for what lies below `below`. The local bus keeps commands and reports until told so, and is
    /// full otherwise; Kafka has its retention.
    fn trim(&self, topic: Topic, partition: u16, below: i64);

    /// Joins those who share the partitions of [`Topic::Commands`]. One membership a process at a time.
    ///
    /// # Errors
    /// [`BusError::AlreadyJoined`], or when the client cannot be made.
    async fn join(&self) -> Result<Membership, BusError>;

    /// Sends what is queued, leaves the group, stops all threads; gives up at the deadline. Sends are refused from the
    /// call on.
    ///
    /// # Errors
    /// [`BusError::Unsent`] when the deadline came first.
    async fn close(&self, patience: Duration) -> Result<(), BusError>;
}

/// Opens the bus that the options name: Kafka when they name brokers, else one inside the process.
///
/// # Errors
/// When the brokers cannot be reached, or their topics are not as `grid migrate` makes them.
pub async fn open(bus: &BusOptions, kafka: &KafkaOptions, shards: u16) -> Result<Arc<dyn Bus>, BusError> {
    open_to(&Topic::ALL, bus, kafka, shards).await
}

/// As [`open`], for who uses these topics only.
///
/// # Errors
/// Likewise.
pub async fn open_to(
    topics: &[Topic],
    bus: &BusOptions,
    kafka: &KafkaOptions,
    shards: u16,
) -> Result<Arc<dyn Bus>, BusError> {
    if kafka.brokers.is_some() {
        Ok(Arc::new(KafkaBus::connect_to(topics, bus, kafka, shards).await?))
    } else {
        Ok(Arc::new(LocalBus::new(bus, shards)))
    }
}
