//! A sink that writes its records to a topic, each at least once.
//!
//! Must stay true: a message is acknowledged by all replicas of its partition before the run completes, and before a
//! checkpoint says that it was sent.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use vrl::path::OwnedValuePath;
use vrl::value::Value;

use super::context::{Control, RunContext, RunState};
use super::encoding::Encoder;
use super::kafka::{Told, client, of_error, unfit};
use super::remote_config::{KafkaConfig, KafkaSinkConfig};
use super::report::PipelineFailure;

const STEP: Duration = Duration::from_millis(100);
/// Acknowledgements are taken in after so many messages.
const POLL_AFTER: u32 = 100;

pub(super) struct KafkaSink {
    id: String,
    config: KafkaConfig,
    key: Option<OwnedValuePath>,
    encoder: Encoder,
    producer: BaseProducer<Told>,
    control: Control,
    value: Vec<u8>,
    since_poll: u32,
}

impl KafkaSink {
    pub fn open(id: &str, config: &KafkaSinkConfig, context: &RunContext) -> Result<Self, PipelineFailure> {
        let producer = client(id, &config.kafka, context)?
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "10")
            .set("message.timeout.ms", "60000")
            .set("queue.buffering.max.kbytes", "65536")
            .create_with_context(Told::default())
            .map_err(|error| unfit(id, &error))?;
        Ok(Self {
            id: id.to_owned(),
            config: config.kafka.clone(),
            key: config.key.clone(),
            encoder: Encoder::new(&config.encoder),
            producer,
            control: context.control.clone(),
            value: Vec::new(),
            since_poll: 0,
        })
    }

    /// The outer error is the brokers', the inner one the record's. Gives the bytes it became.
    pub fn write(&mut self, record: &Value) -> Result<Result<usize, String>, PipelineFailure> {
        self.value.clear();
        if let Err(message) = self.encoder.encode(record, &mut self.value) {
            return Ok(Err(message));
        }
        // A message ends by itself.
        self.value.pop();
        let key = match self.key.as_ref().map(|path| key_of(record, path)).transpose() {
            Ok(key) => key.flatten(),
            Err(message) => return Ok(Err(message)),
        };
        loop {
            let mut message = BaseRecord::<[u8], [u8]>::to(&self.config.topic).payload(self.value.as_slice());
            message.key = key.as_deref();
            match self.producer.send(message).map_err(|(error, _)| error) {
                Ok(()) => break,
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => self.poll(STEP)?,
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                    return Ok(Err(format!(
                        "the record has {} bytes, too many for a message",
                        self.value.len()
                    )));
                }
                Err(error) => return Err(of_error(&self.id, &self.config, "does not take what is sent", &error)),
            }
        }
        self.since_poll += 1;
        if self.since_poll >= POLL_AFTER {
            self.since_poll = 0;
            self.poll(Duration::ZERO)?;
        }
        Ok(Ok(self.value.len()))
    }

    /// Takes in what the brokers have said.
    pub fn tend(&self) -> Result<(), PipelineFailure> {
        self.poll(Duration::ZERO)
    }

    /// All messages have been acknowledged.
    pub fn flush(&self) -> Result<(), PipelineFailure> {
        // Each comes to its end within the time that a message has.
        while self.producer.in_flight_count() > 0 {
            self.poll(STEP)?;
        }
        self.poll(Duration::ZERO)
    }

    fn poll(&self, patience: Duration) -> Result<(), PipelineFailure> {
        if self.control.state() == RunState::Cancel {
            return Err(PipelineFailure::cancelled());
        }
        self.producer.poll(patience);
        self.producer.context().check(&self.id, &self.config)
    }
}

/// `None`: it has none there.
fn key_of(record: &Value, path: &OwnedValuePath) -> Result<Option<Vec<u8>>, String> {
    match record.get(path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bytes(text)) => Ok(Some(text.to_vec())),
        Some(Value::String(text)) => Ok(Some(text.as_bytes().to_vec())),
        Some(value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Timestamp(_))) => {
            Ok(Some(value.coerce_to_bytes().to_vec()))
        }
        Some(other) => Err(format!(
            "`{path}` is a {}, which cannot be a message's key",
            other.kind_str()
        )),
    }
}
