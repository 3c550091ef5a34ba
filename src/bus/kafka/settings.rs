//! How each Kafka client is configured, and what the topics are called.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::bus::{BusError, BusOptions, KafkaOptions, Partitions, Topic};

/// What Kafka and the record format add to a message; the limits of topics and clients are that much wider.
const FRAMING_BYTES: u64 = 64 * 1024;

/// Properties whose value Grid's correctness hangs on.
const RESERVED: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "partition.assignment.strategy",
    "request.required.acks",
    "session.timeout.ms",
    "transactional.id",
];

/// The options as the Kafka clients need them.
pub(super) struct Settings {
    pub(super) kafka: KafkaOptions,
    pub(super) bus: BusOptions,
    pub(super) partitions: Partitions,
    /// Full names of the topics, by [`Topic::index`].
    names: [String; 6],
}

impl Settings {
    pub(super) fn new(bus: &BusOptions, kafka: &KafkaOptions, shards: u16) -> Result<Self, BusError> {
        if let Some((name, _)) = kafka.properties.iter().find(|(name, _)| RESERVED.contains(name)) {
            return Err(BusError::Properties(format!("{name} is set by Grid itself: remove it")));
        }
        Ok(Self {
            kafka: kafka.clone(),
            bus: bus.clone(),
            partitions: Partitions::new(bus, shards),
            names: Topic::ALL.map(|topic| format!("{}{}", kafka.topic_prefix, topic.name())),
        })
    }

    pub(super) fn name(&self, topic: Topic) -> &str {
        &self.names[topic.index()]
    }

    pub(super) fn topic_of(&self, name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.name(*topic) == name)
    }

    pub(super) fn most_message_bytes(&self) -> usize {
        self.bus.max_message_bytes as usize
    }

    /// `max.message.bytes` of the topics, `message.max.bytes` of the clients.
    pub(super) fn framed_message_bytes(&self) -> u64 {
        u64::from(self.bus.max_message_bytes) + FRAMING_BYTES
    }

    fn group(&self) -> String {
        format!("{}jobmasters", self.kafka.topic_prefix)
    }

    /// What every client has.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.kafka.brokers.as_deref().unwrap_or_default())
            .set("client.id", "grid")
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            .set("log.connection.close", "false");
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in self.kafka.properties.iter() {
            config.set(name, value);
        }
        config
    }

    /// A client that only asks.
    pub(super) fn asking(&self) -> ClientConfig {
        self.with_properties(self.client())
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", self.framed_message_bytes().to_string())
            .set("message.timeout.ms", millis(self.kafka.delivery_timeout))
            .set("queue.buffering.max.ms", millis(self.kafka.linger))
            // The meters bound what is under way, a topic at a time; the library's own bound is for all together.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2097151");
        self.with_properties(config)
    }

    /// A producer that stops for good at the first message that fails.
    pub(super) fn gapless_producer(&self) -> ClientConfig {
        let mut config = self.producer();
        config.set("enable.gapless.guarantee", "true");
        config
    }

    /// A consumer whose partitions are assigned by hand. It never joins the group that it names.
    pub(super) fn fetcher(&self) -> ClientConfig {
        let mut config = self.client();
        let queued_kbytes = (self.bus.partition_bytes / 1024).clamp(1, 2_097_151);
        config
            .set("group.id", self.group())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // An offset that is not there any more ends the subscription instead of passing over what is lost.
            .set("auto.offset.reset", "error")
            .set("fetch.message.max.bytes", self.framed_message_bytes().to_string())
            .set("message.max.bytes", self.framed_message_bytes().to_string())
            .set("queued.max.messages.kbytes", queued_kbytes.to_string())
            .set("queued.min.messages", "20000")
            // A partition that is assigned now waits for the fetch that is under way.
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "50")
            .set("statistics.interval.ms", "10000");
        self.with_properties(config)
    }

    /// The member of the group on the commands. It reads nothing.
    pub(super) fn member(&self) -> ClientConfig {
        let session = self.kafka.session_timeout;
        // Longer than the wait for a release, which blocks the thread that polls.
        let poll = (self.kafka.revoke_timeout + Duration::from_secs(30)).max(session);
        let mut config = self.client();
        config
            .set("group.id", self.group())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(session))
            .set(
                "heartbeat.interval.ms",
                millis((session / 6).max(Duration::from_millis(100))),
            )
            .set("max.poll.interval.ms", millis(poll))
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "64");
        self.with_properties(config)
    }
}

pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// The context of a client that only asks; all contexts speak as it does.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

/// librdkafka calls a broker that is away an error, again and again; for Grid it is a warning at most.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "kafka.client");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "kafka.client"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "kafka.client"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "kafka.client"),
    }
}

pub(super) fn log_error(error: &KafkaError, reason: &str) {
    tracing::warn!(%error, reason, "kafka.client.error");
}
