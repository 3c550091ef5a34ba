//! Options of the bus.

use std::time::Duration;

use crate::config::Properties;
use crate::options;

options! {
    /// Limits of the bus, over Kafka and inside the process.
    pub struct BusOptions {
        /// Largest message, in bytes: key, headers and payload together. `grid migrate` sets the topics' limit by it.
        max_message_bytes: u32 = 2 * 1024 * 1024 + 64 * 1024,
        /// Bytes under way to one topic (over Kafka: not acknowledged; in process: not read); a sender beyond it is
        /// told that the queue is full.
        queue_bytes: u64 = 64 * 1024 * 1024,
        /// Messages under way to one topic.
        queue_messages: u64 = 500_000,
        /// Bytes kept for the reader of one partition. In process, a sender beyond it is told that the queue is full;
        /// over Kafka, the rest stays at the broker.
        partition_bytes: u64 = 8 * 1024 * 1024,
        /// Partitions of the assignments; a worker has one by the hash of its name.
        assignment_partitions: u16 = 16,
        /// Partitions of the replies; an API node has one by the hash of its name.
        reply_partitions: u16 = 16,
    }
}

options! {
    /// Options of the bus over Kafka.
    pub struct KafkaOptions {
        /// Brokers to begin with: host:port,host:port. Without them the bus is inside the process.
        brokers: Option<String> = None,
        /// What the names of all topics and of the consumer group begin with.
        topic_prefix: String = "grid.".into(),
        /// Replicas of each topic that `grid migrate` creates.
        replication_factor: u16 = 1,
        /// How long commands, reports and assignments are kept.
        retention: Duration = Duration::from_secs(24 * 60 * 60),
        /// How long heartbeats and replies are kept.
        short_retention: Duration = Duration::from_secs(60 * 60),
        /// How long to wait for a first answer of the brokers at start.
        connect_timeout: Duration = Duration::from_secs(30),
        /// How long a question to the brokers may take.
        request_timeout: Duration = Duration::from_secs(10),
        /// How long to try to deliver a message. An outage of the brokers shorter than that loses nothing.
        delivery_timeout: Duration = Duration::from_secs(120),
        /// Silence after which the partitions of a jobmaster go to others. Not below the brokers'
        /// group.min.session.timeout.ms.
        session_timeout: Duration = Duration::from_secs(6),
        /// How long a jobmaster may take to close a shard that goes to another one.
        revoke_timeout: Duration = Duration::from_secs(10),
        /// How long to gather messages into one request. 0: send at once, and gather while requests are under way.
        linger: Duration = Duration::ZERO,
        /// Properties for librdkafka, by its names: security.protocol, ssl.ca.location, sasl.username, …
        properties: Properties = Properties::default(),
    }
}
