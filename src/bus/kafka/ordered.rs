//! Publishing in order to Kafka.
//!
//! Must stay true: within one generation of the producer nothing goes out after a message that failed (librdkafka's
//! gapless guarantee); the next generation begins only when everything of the one before is reported; and a handle
//! sends in the generation it knows alone, so that whoever has not yet learnt of a failure sends nothing behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::{oneshot, watch};

use super::producer::{cost_bytes, record, refused, report_cost_bytes};
use super::settings::{Settings, log_error, log_line};
use super::waiting::Slots;
use crate::bus::meter::{Meter, Meters, check_message};
use crate::bus::{BusError, Message, Publication, PublishError, SendError, Topic};

/// The one ordered producer of a bus, behind all handles.
pub(super) struct Ordered {
    settings: Arc<Settings>,
    meters: Meters,
    current: Mutex<Option<Arc<Instance>>>,
    /// The generation that may send; 0 before the first.
    generation: watch::Sender<u64>,
}

struct Instance {
    generation: u64,
    client: BaseProducer<Reports>,
    stopping: AtomicBool,
}

struct Reports {
    meters: Meters,
    batches: Slots<Arc<Batch>>,
    failed: AtomicBool,
}

/// A batch under way. A message's tag is the batch's slot and its place in the batch.
struct Batch(Mutex<BatchState>);

struct BatchState {
    /// Messages without a report.
    left: usize,
    failure: Option<PublishError>,
    answer: Option<oneshot::Sender<Result<(), PublishError>>>,
}

const INDEX_BITS: u32 = 32;

/// A publisher's handle.
pub struct KafkaOrdered {
    ordered: Arc<Ordered>,
    generation: u64,
}

impl Ordered {
    pub(super) fn start(settings: &Arc<Settings>, meters: &Meters) -> Result<Arc<Self>, BusError> {
        let ordered = Arc::new(Self {
            settings: Arc::clone(settings),
            meters: Arc::clone(meters),
            current: Mutex::new(None),
            generation: watch::Sender::new(0),
        });
        ordered.renew()?;
        Ok(ordered)
    }

    pub(super) fn handle(self: &Arc<Self>) -> KafkaOrdered {
        KafkaOrdered {
            ordered: Arc::clone(self),
            generation: *self.generation.borrow(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Instance>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meter(&self) -> &Meter {
        &self.meters[Topic::Events.index()]
    }

    fn renew(self: &Arc<Self>) -> Result<(), BusError> {
        let reports = Reports {
            meters: Arc::clone(&self.meters),
            batches: Slots::default(),
            failed: AtomicBool::new(false),
        };
        let client = self.settings.gapless_producer().create_with_context(reports);
        let client = client.map_err(|error| BusError::Properties(error.to_string()))?;
        let generation = *self.generation.borrow() + 1;
        let instance = Arc::new(Instance {
            generation,
            client,
            stopping: AtomicBool::new(false),
        });
        let mut current = self.lock();
        *current = Some(Arc::clone(&instance));
        let ordered = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("grid-bus-publish".to_owned());
        let started = thread.spawn(move || instance.serve(&ordered));
        started.map_err(|error| BusError::Properties(format!("a thread could not be started: {error}")))?;
        self.generation.send_replace(generation);
        Ok(())
    }

    /// Sends what is queued and stops. Blocks up to `patience`; tells how many messages were not acknowledged.
    pub(super) fn close(&self, patience: Duration) -> usize {
        let Some(instance) = self.lock().take() else { return 0 };
        let deadline = Instant::now() + patience;
        while instance.client.in_flight_count() > 0 && Instant::now() < deadline {
            let _ = instance.client.flush(Duration::from_millis(100));
        }
        let unsent = usize::try_from(instance.client.in_flight_count()).unwrap_or(0);
        instance.stopping.store(true, Ordering::Release);
        unsent
    }

    fn begin(&self, generation: u64, batch: &[(u16, Message)]) -> Result<Publication, SendError> {
        let topic = Topic::Events;
        let settings = &self.settings;
        for (partition, message) in batch {
            check_message(
                topic,
                *partition,
                settings.partitions.of(topic),
                message,
                settings.most_message_bytes(),
            )?;
        }
        if batch.is_empty() {
            return Ok(Publication::known(Ok(())));
        }
        let current = self.lock();
        let Some(instance) = current.as_ref() else {
            return Err(SendError::Closed);
        };
        let reports = instance.client.context();
        if instance.generation != generation || reports.failed.load(Ordering::Acquire) {
            return Err(SendError::Interrupted { topic });
        }
        let messages = batch.len() as u64;
        self.meter()
            .take(messages, batch.iter().map(|(_, message)| cost_bytes(message)).sum())?;
        let (answer, receiver) = oneshot::channel();
        let state = BatchState {
            left: batch.len(),
            failure: None,
            answer: Some(answer),
        };
        let slot = reports.batches.insert(Arc::new(Batch(Mutex::new(state))));
        for (index, (partition, message)) in batch.iter().enumerate() {
            let tag = slot << INDEX_BITS | index;
            if let Err((error, _)) = instance
                .client
                .send(record(settings.name(topic), *partition, message, tag))
            {
                let error = refused(topic, &error);
                // What is queued cannot be called back, so the producer is done with.
                reports.failed.store(true, Ordering::Release);
                for (index, (_, message)) in batch.iter().enumerate().skip(index) {
                    reports.report(slot, index, Err(error.to_string()), cost_bytes(message));
                }
                break;
            }
        }
        self.meter().count_sent(messages);
        Ok(Publication::awaited(receiver))
    }
}

impl KafkaOrdered {
    pub(in crate::bus) fn begin(&mut self, batch: &[(u16, Message)]) -> Result<Publication, SendError> {
        let begun = self.ordered.begin(self.generation, batch);
        if let Err(error) = &begun {
            self.ordered.meter().count_error(error.kind());
        }
        begun
    }

    pub(in crate::bus) async fn begin_when_room(
        &mut self,
        batch: &[(u16, Message)],
        patience: Duration,
    ) -> Result<Publication, SendError> {
        let generation = self.generation;
        self.ordered
            .meter()
            .when_room(patience, || self.ordered.begin(generation, batch))
            .await
    }

    pub(in crate::bus) async fn resume(&mut self) {
        let failed = {
            let current = self.ordered.lock();
            let instance = current
                .as_ref()
                .filter(|instance| instance.generation == self.generation);
            instance.is_some_and(|instance| instance.client.context().failed.load(Ordering::Acquire))
        };
        let mut generation = self.ordered.generation.subscribe();
        if failed {
            // Cannot fail: the sender lives in `ordered`. Should it ever, the old generation is refused again.
            let _ = generation.wait_for(|generation| *generation > self.generation).await;
        }
        self.generation = *generation.borrow_and_update();
    }
}

impl Instance {
    fn serve(&self, ordered: &Weak<Ordered>) {
        let reports = self.client.context();
        while !self.stopping.load(Ordering::Acquire) {
            self.client.poll(Duration::from_millis(50));
            if let Some((code, why)) = self.client.client().fatal_error() {
                tracing::error!(%code, why, "bus.publish.fatal");
                reports.failed.store(true, Ordering::Release);
            }
            if !reports.failed.load(Ordering::Acquire) {
                continue;
            }
            tracing::warn!(generation = self.generation, "bus.publish.interrupted");
            metrics::counter!("grid_bus_publish_interrupted_total").increment(1);
            self.end();
            while !self.stopping.load(Ordering::Acquire) {
                let Some(ordered) = ordered.upgrade() else { return };
                match ordered.renew() {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%error, "bus.publish.renew"),
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            return;
        }
        self.end();
    }

    /// Nothing goes out any more, and whatever is not acknowledged is reported.
    fn end(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
        if let Err(error) = self.client.flush(Duration::from_secs(5)) {
            tracing::warn!(%error, "bus.publish.purge");
        }
    }
}

impl Reports {
    fn report(&self, slot: usize, index: usize, result: Result<(), String>, cost: u64) {
        self.meters[Topic::Events.index()].give(1, cost);
        let Some(batch) = self.batches.get(slot) else { return };
        let mut state = batch.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(why) = result
            && state.failure.as_ref().is_none_or(|failure| index < failure.index)
        {
            state.failure = Some(PublishError { index, why });
        }
        state.left -= 1;
        if state.left == 0 {
            self.batches.take(slot);
            let result = state.failure.take().map_or(Ok(()), Err);
            if let Some(answer) = state.answer.take() {
                // Whoever published may have stopped waiting.
                let _ = answer.send(result);
            }
        }
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
        let (message, result) = match result {
            Ok(message) => (message, Ok(())),
            Err((error, message)) => {
                self.failed.store(true, Ordering::Release);
                self.meters[Topic::Events.index()].count_error("undelivered");
                (message, Err(error.to_string()))
            }
        };
        let cost = report_cost_bytes(message.key_len(), message.payload_len());
        self.report(tag >> INDEX_BITS, tag & ((1 << INDEX_BITS) - 1), result, cost);
    }
}
