//! What can go wrong, and what to do then.

use std::time::Duration;

use super::Topic;

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the queue of topic {topic} is full: send again when it has drained")]
    Full { topic: Topic },
    #[error("a message of {bytes} bytes to topic {topic} is over the limit of {limit} bytes (bus.max_message_bytes)")]
    TooLarge { topic: Topic, bytes: usize, limit: usize },
    #[error("topic {topic} has no partition {partition}, it has {partitions}")]
    NoPartition {
        topic: Topic,
        partition: u16,
        partitions: u16,
    },
    #[error("the bus is closed")]
    Closed,
    #[error("an earlier message to topic {topic} failed: resume, and send again from the first that failed")]
    Interrupted { topic: Topic },
    #[error("Kafka's client refused a message to topic {topic}: {why}")]
    Refused { topic: Topic, why: String },
}

impl SendError {
    /// The label in metrics.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::TooLarge { .. } => "too_large",
            Self::NoPartition { .. } => "no_partition",
            Self::Closed => "closed",
            Self::Interrupted { .. } => "interrupted",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Why a message that was taken has not been acknowledged. It may have arrived all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    #[error("a message to topic {topic} was not acknowledged: {why}")]
    Failed { topic: Topic, why: String },
    #[error("the bus was closed before the message was acknowledged")]
    Closed,
}

/// Why a batch of an [`OrderedProducer`](super::OrderedProducer) is not whole: all before `index` were acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message {index} of the batch was not acknowledged: {why}; publish again from there")]
pub struct PublishError {
    /// Place in the batch of the first message without acknowledgement. Later ones may have arrived.
    pub index: usize,
    pub why: String,
}

/// Why a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    #[error(
        "offset {offset} of topic {topic}, partition {partition}, is no longer there: it passed its retention, or the \
         topic was cut"
    )]
    OutOfRange { topic: Topic, partition: u16, offset: i64 },
    #[error("the subscription of topic {topic}, partition {partition}, failed: {why}")]
    Failed { topic: Topic, partition: u16, why: String },
    #[error("the bus is closed")]
    Closed,
}

/// Why a member could not prove that it owns a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    #[error("partition {partition} of the commands belongs to another member, or is about to")]
    NotOwner { partition: u16 },
    #[error("nobody could tell in time who owns partition {partition} of the commands: {why}; ask again")]
    Unavailable { partition: u16, why: String },
}

/// What else can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    #[error("offset {offset} of topic {topic}, partition {partition}, is outside of what is there ({low} to {high})")]
    OutOfRange {
        topic: Topic,
        partition: u16,
        offset: i64,
        low: i64,
        high: i64,
    },
    #[error("topic {topic} has no partition {partition}, it has {partitions}")]
    NoPartition {
        topic: Topic,
        partition: u16,
        partitions: u16,
    },
    #[error(
        "Kafka did not answer within {waited:?} ({what}): {why}; check kafka.brokers, security.protocol in \
         kafka.properties, and the network"
    )]
    Unavailable {
        what: String,
        waited: Duration,
        why: String,
    },
    #[error(
        "the brokers at {brokers} and this client do not come together: {why}; check kafka.properties: \
         security.protocol, ssl.ca.location, sasl.mechanism, sasl.username, sasl.password"
    )]
    Refused { brokers: String, why: String },
    #[error("kafka.properties: {0}")]
    Properties(String),
    #[error("the topics are not as they should be:\n{0}")]
    Topics(String),
    #[error("this process is a member already: leave first")]
    AlreadyJoined,
    #[error("{messages} messages were not acknowledged when the time to close was over")]
    Unsent { messages: usize },
    #[error("the bus is closed")]
    Closed,
}
