//! A source that reads this replica's partitions of a topic.
//!
//! Partition p belongs to replica p modulo their number. It belongs to no consumer group: where a run begins is said in
//! the document, and where a later attempt goes on by the checkpoint.
//!
//! Must stay true: of a topic that is not followed, every message is read that was there when the run began, and none
//! that came later; a run that goes on keeps that end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use vrl::value::Value;

use super::checkpoint::{Place, SourceState};
use super::config::Encoding;
use super::context::{Control, RunContext, RunState};
use super::engine::Engine;
use super::file_source::{read_object, text_record};
use super::generate::Generated;
use super::kafka::{Told, client, failure, of_error, unfit};
use super::projection::Projection;
use super::remote_config::{Begin, KafkaConfig, KafkaSourceConfig};
use super::report::PipelineFailure;

/// How long the brokers have to say what there is.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(250);
/// Messages between two looks at the switch.
const BATCH: u64 = 1_000;
/// Between two looks for messages when there were none.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct KafkaSource {
    id: String,
    config: KafkaConfig,
    encoding: Encoding,
    consumer: BaseConsumer<Told>,
    /// By partition.
    places: BTreeMap<i32, Place>,
    /// Partitions that have not come to their end.
    left: usize,
    /// Since when nothing has come.
    silent_since: Option<Instant>,
}

impl KafkaSource {
    pub fn open(
        id: &str,
        config: KafkaSourceConfig,
        earlier: Option<&[Place]>,
        context: &RunContext,
    ) -> Result<Self, PipelineFailure> {
        let KafkaSourceConfig {
            kafka,
            encoding,
            begin,
            follow,
        } = config;
        let consumer: BaseConsumer<Told> = client(id, &kafka, context)?
            .set("group.id", "grid-pipeline")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "16384")
            // What is not there any more is told, and not passed over.
            .set("auto.offset.reset", "error")
            .create_with_context(Told::default())
            .map_err(|error| unfit(id, &error))?;
        let asking = Asking {
            id,
            config: &kafka,
            consumer: &consumer,
            control: &context.control,
        };
        let mut places = BTreeMap::new();
        for partition in asking.partitions()? {
            let mine = u32::try_from(partition).is_ok_and(|it| it % context.replica_count == context.replica_index);
            if !mine {
                continue;
            }
            let known = earlier.and_then(|earlier| earlier.iter().find(|place| place.partition == partition));
            let place = match known {
                Some(place) => *place,
                None => {
                    let (low, high) = asking.ends(partition)?;
                    Place {
                        partition,
                        next: if begin == Begin::Earliest { low } else { high },
                        end: (!follow).then_some(high),
                    }
                }
            };
            places.insert(partition, place);
        }
        let mut assigned = TopicPartitionList::new();
        for (partition, place) in places.iter().filter(|(_, place)| !place.is_done()) {
            let added = assigned.add_partition_offset(&kafka.topic, *partition, Offset::Offset(place.next));
            added.map_err(|error| of_error(id, &kafka, "cannot be read", &error))?;
        }
        let assign = consumer.assign(&assigned);
        assign.map_err(|error| of_error(id, &kafka, "cannot be read", &error))?;
        let left = assigned.count();
        Ok(Self {
            id: id.to_owned(),
            config: kafka,
            encoding,
            consumer,
            places,
            left,
            silent_since: None,
        })
    }

    pub fn state(&self) -> SourceState {
        SourceState::Kafka {
            topic: self.config.topic.clone(),
            places: self.places.values().copied().collect(),
        }
    }

    pub fn step(&mut self, node: usize, engine: &mut Engine<'_>) -> Result<Generated, PipelineFailure> {
        for _ in 0..BATCH {
            if self.left == 0 {
                return Ok(Generated::Done);
            }
            let Some(polled) = self.consumer.poll(Duration::ZERO) else {
                return self.nothing_came();
            };
            let message = match polled {
                Ok(message) => message,
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.silent_since = None;
                    // Nothing is left before the end, even where the last messages were not kept.
                    if let Some(place) = self.places.get_mut(&partition) {
                        self.left -= usize::from(place.come_to_end());
                    }
                    continue;
                }
                Err(error) if may_pass(&error) => continue,
                Err(error) => return Err(of_error(&self.id, &self.config, "cannot be read", &error)),
            };
            self.silent_since = None;
            let (partition, offset) = (message.partition(), message.offset());
            let Some(place) = self.places.get_mut(&partition).filter(|place| place.holds(offset)) else {
                continue;
            };
            let value = message.payload().map(Bytes::copy_from_slice);
            place.next = offset + 1;
            self.left -= usize::from(place.is_done());
            take(value, self.encoding, node, engine)?;
        }
        Ok(Generated::More)
    }

    fn nothing_came(&mut self) -> Result<Generated, PipelineFailure> {
        self.consumer.context().check(&self.id, &self.config)?;
        let is_followed = self.places.values().any(|place| place.end.is_none());
        let silent_since = *self.silent_since.get_or_insert_with(Instant::now);
        if !is_followed && silent_since.elapsed() > PATIENCE {
            let why = self.consumer.context().last();
            return Err(failure(&self.id, &self.config, "does not answer", why));
        }
        Ok(Generated::Wait(Instant::now() + PAUSE))
    }
}

fn take(value: Option<Bytes>, encoding: Encoding, node: usize, engine: &mut Engine<'_>) -> Result<(), PipelineFailure> {
    let counts = engine.counts(node);
    counts.events_in += 1;
    let Some(value) = value else {
        return engine.fail(node, "the message has no value".to_owned(), Value::Null);
    };
    counts.bytes_in += value.len() as u64;
    let record = match encoding {
        Encoding::Ndjson => read_object(&value, 0, value.len(), &Projection::Whole),
        Encoding::Text | Encoding::Csv => Ok(text_record(value.clone())),
    };
    match record {
        Ok(record) => engine.emit(node, record, None),
        Err(message) => engine.fail(node, message, Value::Bytes(value)),
    }
}

/// The client tries again by itself.
fn may_pass(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

/// Questions before the first message.
struct Asking<'a> {
    id: &'a str,
    config: &'a KafkaConfig,
    consumer: &'a BaseConsumer<Told>,
    control: &'a Control,
}

impl Asking<'_> {
    fn partitions(&self) -> Result<Vec<i32>, PipelineFailure> {
        let Self { id, config, .. } = self;
        let partitions = self.ask(|patience| {
            let metadata = self.consumer.fetch_metadata(Some(&config.topic), patience)?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == config.topic);
            match topic.and_then(|topic| topic.error()) {
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                None => Ok(topic.map_or_else(Vec::new, |topic| topic.partitions().iter().map(|it| it.id()).collect())),
            }
        })?;
        if partitions.is_empty() {
            let why = "there is no such topic".to_owned();
            return Err(failure(id, config, "cannot be read", why));
        }
        Ok(partitions)
    }

    /// The first message that is kept, and the one that comes next.
    fn ends(&self, partition: i32) -> Result<(i64, i64), PipelineFailure> {
        self.ask(|patience| self.consumer.fetch_watermarks(&self.config.topic, partition, patience))
    }

    /// Asks until there is an answer, the run is cancelled, or the brokers refuse.
    fn ask<T>(&self, mut question: impl FnMut(Duration) -> Result<T, KafkaError>) -> Result<T, PipelineFailure> {
        let Self { id, config, .. } = self;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = question(STEP);
            // Complaints are given out by polling; there are no messages.
            while self.consumer.poll(Duration::ZERO).is_some() {}
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if self.control.state() == RunState::Cancel {
                return Err(PipelineFailure::cancelled());
            }
            self.consumer.context().check(id, config)?;
            if !may_pass(&error) {
                return Err(of_error(id, config, "cannot be read", &error));
            }
            if Instant::now() > deadline {
                return Err(failure(id, config, "does not answer", self.consumer.context().last()));
            }
        }
    }
}
