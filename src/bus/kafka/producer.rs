//! Sending to Kafka: one idempotent producer for all topics but the ordered publication, made anew after a fatal error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::oneshot;

use super::settings::{Settings, log_error, log_line};
use super::waiting::Slots;
use crate::bus::meter::{Meters, check_message};
use crate::bus::{BusError, DeliveryError, Message, SendError, Topic};

type Answer = oneshot::Sender<Result<i64, DeliveryError>>;

/// The low bits of a message's tag are its topic, the others the number of its slot, and 0 when nobody waits.
const TOPIC_BITS: u32 = 3;
const TOPIC_MASK: usize = (1 << TOPIC_BITS) - 1;

pub(super) struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Settings>,
    meters: Meters,
    /// Nothing after the bus was closed.
    current: RwLock<Option<Arc<Instance>>>,
}

/// One librdkafka producer and the thread that serves its reports.
struct Instance {
    client: BaseProducer<Reports>,
    stopping: AtomicBool,
}

/// Where delivery reports arrive.
struct Reports {
    meters: Meters,
    waiting: Slots<Answer>,
}

impl Producer {
    pub(super) fn start(settings: &Arc<Settings>, meters: &Meters) -> Result<Self, BusError> {
        let shared = Arc::new(Shared {
            settings: Arc::clone(settings),
            meters: Arc::clone(meters),
            current: RwLock::new(None),
        });
        shared.renew()?;
        Ok(Self { shared })
    }

    /// Hands a message over; the receiver is there when `wanted`.
    pub(super) fn send(
        &self,
        topic: Topic,
        partition: u16,
        message: &Message,
        wanted: bool,
    ) -> Result<Option<oneshot::Receiver<Result<i64, DeliveryError>>>, SendError> {
        let meter = &self.shared.meters[topic.index()];
        let sent = self.try_send(topic, partition, message, wanted);
        match &sent {
            Ok(_) => meter.count_sent(1),
            Err(error) => meter.count_error(error.kind()),
        }
        sent
    }

    fn try_send(
        &self,
        topic: Topic,
        partition: u16,
        message: &Message,
        wanted: bool,
    ) -> Result<Option<oneshot::Receiver<Result<i64, DeliveryError>>>, SendError> {
        let shared = &self.shared;
        let settings = &shared.settings;
        check_message(
            topic,
            partition,
            settings.partitions.of(topic),
            message,
            settings.most_message_bytes(),
        )?;
        // Held during the send: the order of calls is the order in the queue also while a producer is replaced.
        let current = shared.current.read().unwrap_or_else(PoisonError::into_inner);
        let Some(instance) = current.as_ref() else {
            return Err(SendError::Closed);
        };
        let cost = cost_bytes(message);
        shared.meters[topic.index()].take(1, cost)?;
        let waiting = &instance.client.context().waiting;
        let (slot, receiver) = if wanted {
            let (sender, receiver) = oneshot::channel();
            (waiting.insert(sender) + 1, Some(receiver))
        } else {
            (0, None)
        };
        let tag = slot << TOPIC_BITS | topic.index();
        match instance
            .client
            .send(record(settings.name(topic), partition, message, tag))
        {
            Ok(()) => Ok(receiver),
            Err((error, _)) => {
                shared.meters[topic.index()].give(1, cost);
                slot.checked_sub(1).map(|slot| waiting.take(slot));
                Err(refused(topic, &error))
            }
        }
    }

    /// Sends what is queued and stops. Blocks up to `patience`; tells how many messages were not acknowledged.
    pub(super) fn close(&self, patience: Duration) -> usize {
        let taken = self
            .shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(instance) = taken else { return 0 };
        let deadline = Instant::now() + patience;
        while instance.client.in_flight_count() > 0 && Instant::now() < deadline {
            let _ = instance.client.flush(Duration::from_millis(100));
        }
        let unsent = usize::try_from(instance.client.in_flight_count()).unwrap_or(0);
        instance.stopping.store(true, Ordering::Release);
        unsent
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

impl Shared {
    /// Puts a new producer in the place of the current one.
    fn renew(self: &Arc<Self>) -> Result<(), BusError> {
        let reports = Reports {
            meters: Arc::clone(&self.meters),
            waiting: Slots::default(),
        };
        let client = self.settings.producer().create_with_context(reports);
        let client = client.map_err(|error| BusError::Properties(error.to_string()))?;
        let instance = Arc::new(Instance {
            client,
            stopping: AtomicBool::new(false),
        });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&instance));
        let shared = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("grid-bus-send".to_owned());
        // The thread owns the last reference: ending a producer can take long, and is nobody's business but its.
        let started = thread.spawn(move || instance.serve(&shared));
        started
            .map(drop)
            .map_err(|error| BusError::Properties(format!("a thread could not be started: {error}")))
    }
}

impl Instance {
    fn serve(&self, shared: &std::sync::Weak<Shared>) {
        while !self.stopping.load(Ordering::Acquire) {
            self.client.poll(Duration::from_millis(100));
            // Asked for, since the library does not tell every fatal error as an event.
            let Some((code, why)) = self.client.client().fatal_error() else {
                continue;
            };
            tracing::error!(%code, why, "bus.producer.fatal");
            metrics::counter!("grid_bus_producer_renewed_total").increment(1);
            let Some(shared) = shared.upgrade() else { break };
            // Closed meanwhile: nothing to replace.
            if shared.current.read().unwrap_or_else(PoisonError::into_inner).is_none() {
                break;
            }
            // Nothing queued here may go out behind what the next one sends.
            self.client.purge(PurgeConfig::default().queue().inflight());
            match shared.renew() {
                Ok(()) => break,
                Err(error) => tracing::error!(%error, "bus.producer.renew"),
            }
        }
        self.client.purge(PurgeConfig::default().queue().inflight());
        let _ = self.client.flush(Duration::from_millis(500));
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let topic = Topic::ALL[tag & TOPIC_MASK];
        let meter = &self.meters[topic.index()];
        let (message, answer) = match result {
            Ok(message) => (message, Ok(message.offset())),
            Err((error, message)) => {
                meter.count_error("undelivered");
                tracing::warn!(%topic, partition = message.partition(), %error, "bus.undelivered");
                (
                    message,
                    Err(DeliveryError::Failed {
                        topic,
                        why: error.to_string(),
                    }),
                )
            }
        };
        meter.give(1, report_cost_bytes(message.key_len(), message.payload_len()));
        let waiting = (tag >> TOPIC_BITS)
            .checked_sub(1)
            .and_then(|slot| self.waiting.take(slot));
        if let Some(waiting) = waiting {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(answer);
        }
    }
}

/// What is taken at sending and given back by the report, which does not know the headers.
pub(super) fn cost_bytes(message: &Message) -> u64 {
    report_cost_bytes(message.key.as_ref().map_or(0, bytes::Bytes::len), message.payload.len())
}

pub(super) fn report_cost_bytes(key: usize, payload: usize) -> u64 {
    const AROUND_BYTES: usize = 512;
    (key + payload + AROUND_BYTES) as u64
}

pub(super) fn record<'a>(
    topic: &'a str,
    partition: u16,
    message: &'a Message,
    tag: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(topic, tag)
        .partition(i32::from(partition))
        .payload(&message.payload[..]);
    if let Some(key) = &message.key {
        record = record.key(&key[..]);
    }
    if !message.headers.is_empty() {
        let empty = OwnedHeaders::new_with_capacity(message.headers.len());
        record.headers = Some(message.headers.iter().fold(empty, |headers, (name, value)| {
            headers.insert(Header {
                key: name,
                value: Some(&value[..]),
            })
        }));
    }
    record
}

pub(super) fn refused(topic: Topic, error: &KafkaError) -> SendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => SendError::Full { topic },
        _ => SendError::Refused {
            topic,
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::mock::{fail_for_good, mocked};
    use super::*;
    use crate::bus::BusOptions;
    use crate::bus::meter::meters;

    #[tokio::test]
    async fn a_producer_that_failed_for_good_is_replaced() {
        let (_host, settings) = mocked("renewed.");
        let meters = meters(&BusOptions::default());
        let producer = Producer::start(&settings, &meters).unwrap();
        let send = || {
            producer
                .send(Topic::Commands, 0, &Message::new("x"), true)
                .map(Option::unwrap)
        };
        send().unwrap().await.unwrap().unwrap();
        for _ in 0..3 {
            {
                let current = producer.shared.current.read().unwrap();
                fail_for_good(current.as_ref().unwrap().client.client());
            }
            let deadline = Instant::now() + Duration::from_secs(90);
            let mut why;
            // Refused, or taken and reported as failed, until the next one is there.
            loop {
                match send() {
                    Ok(receiver) => match receiver.await.unwrap() {
                        Ok(_) => break,
                        Err(error) => why = error.to_string(),
                    },
                    Err(error @ SendError::Refused { .. }) => why = error.to_string(),
                    Err(error) => panic!("{error}"),
                }
                assert!(Instant::now() < deadline, "no new producer: {why}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(producer.close(Duration::from_secs(5)), 0);
        assert_eq!(send().err(), Some(SendError::Closed));
        // All room was given back.
        let all = BusOptions::default().queue_messages;
        meters[Topic::Commands.index()].take(all, 0).unwrap();
        meters[Topic::Commands.index()].take(1, 0).unwrap_err();
    }
}
