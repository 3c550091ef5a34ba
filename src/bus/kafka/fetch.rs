//! Reading from Kafka: consumers with partitions assigned by hand, shared by all subscriptions of the process.
//!
//! Must stay true: a partition's messages go to a queue of their own, which librdkafka fills up to
//! `bus.partition_bytes` and then leaves the rest at the broker; a second subscription of a partition goes to a second
//! consumer, since a consumer has each partition once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures::task::AtomicWaker;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::settings::{Settings, log_error, log_line};
use crate::bus::meter::Meters;
use crate::bus::subscription::BATCH_BYTES;
use crate::bus::{BusError, Message, Record, RecvError, Topic};
use crate::domain::Timestamp;

type Place = (Topic, u16);

/// All consumers of a bus.
pub(super) struct Fetchers {
    settings: Arc<Settings>,
    meters: Meters,
    /// Read positions of the commands' partitions; -1 where nothing was read. What a member commits as its proof.
    positions: Arc<[AtomicI64]>,
    consumers: Mutex<Vec<Arc<Fetcher>>>,
    closed: AtomicBool,
}

struct Fetcher {
    consumer: Arc<BaseConsumer<FetchContext>>,
    taken: Mutex<HashSet<Place>>,
    stopping: AtomicBool,
}

impl Fetchers {
    pub(super) fn new(settings: &Arc<Settings>, meters: &Meters) -> Self {
        let positions = (0..settings.partitions.of(Topic::Commands))
            .map(|_| AtomicI64::new(-1))
            .collect();
        Self {
            settings: Arc::clone(settings),
            meters: Arc::clone(meters),
            positions,
            consumers: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn positions(&self) -> &Arc<[AtomicI64]> {
        &self.positions
    }

    /// Begins to read at `offset`. Blocks for as long as the library needs to take the order, not for the broker.
    pub(super) fn subscribe(&self, place: Place, offset: i64) -> Result<KafkaSubscription, BusError> {
        let fetcher = self.fetcher_without(place)?;
        let (topic, partition) = place;
        let name = self.settings.name(topic);
        // Before the assignment, so that nothing of it goes to the queue of all.
        let queue = fetcher.consumer.split_partition_queue(name, i32::from(partition));
        let mut queue = queue.ok_or_else(|| BusError::Topics(format!("{name} cannot be read")))?;
        let waker = Arc::new(AtomicWaker::new());
        let woken = Arc::clone(&waker);
        queue.set_nonempty_callback(move || woken.wake());
        let subscription = KafkaSubscription {
            queue: Some(queue),
            ended: None,
            waker,
            fetcher,
            name: name.to_owned(),
            place,
            position: offset,
            meters: Arc::clone(&self.meters),
            positions: Arc::clone(&self.positions),
        };
        let assigned = subscription
            .fetcher
            .consumer
            .incremental_assign(&subscription.list(Offset::Offset(offset))?);
        assigned.map_err(|error| BusError::Topics(format!("{name}, partition {partition}: {error}")))?;
        subscription.note_position();
        Ok(subscription)
    }

    /// The first consumer that does not read the place, with the place reserved in it.
    fn fetcher_without(&self, place: Place) -> Result<Arc<Fetcher>, BusError> {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        if let Some(fetcher) = consumers.iter().find(|fetcher| fetcher.reserve(place)) {
            return Ok(Arc::clone(fetcher));
        }
        let fetcher = Fetcher::start(&self.settings)?;
        fetcher.reserve(place);
        consumers.push(Arc::clone(&fetcher));
        Ok(fetcher)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for fetcher in self.consumers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            fetcher.stopping.store(true, Ordering::Release);
        }
    }
}

impl Drop for Fetchers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Fetcher {
    fn start(settings: &Arc<Settings>) -> Result<Arc<Self>, BusError> {
        let context = FetchContext {
            settings: Arc::clone(settings),
            shown: Mutex::default(),
        };
        let consumer = settings.fetcher().create_with_context(context);
        let consumer = consumer.map_err(|error| BusError::Properties(error.to_string()))?;
        let fetcher = Arc::new(Self {
            consumer: Arc::new(consumer),
            taken: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        // Or else the first subscription of each topic waits up to a second for its leaders to be looked up.
        for topic in Topic::ALL {
            let looked_up = fetcher
                .consumer
                .fetch_metadata(Some(settings.name(topic)), settings.kafka.request_timeout);
            if let Err(error) = looked_up {
                tracing::debug!(%topic, %error, "bus.fetch.leaders");
                break;
            }
        }
        let serving = Arc::clone(&fetcher);
        let thread = std::thread::Builder::new().name("grid-bus-fetch".to_owned());
        let started = thread.spawn(move || serving.serve());
        started.map_err(|error| BusError::Properties(format!("a thread could not be started: {error}")))?;
        Ok(fetcher)
    }

    fn reserve(&self, place: Place) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(place)
    }

    fn free(&self, place: Place) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
    }

    /// Serves what concerns no single partition. After the end it keeps the consumer until the last subscription is
    /// gone, so that the closing, which can take long, is done here.
    fn serve(self: Arc<Self>) {
        const LONGEST_GOODBYE: Duration = Duration::from_secs(60);
        while !self.stopping.load(Ordering::Acquire) {
            if let Some(Err(error)) = self.consumer.poll(Duration::from_millis(500)) {
                tracing::debug!(%error, "bus.fetch");
            }
        }
        let deadline = Instant::now() + LONGEST_GOODBYE;
        while Arc::strong_count(&self) > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

struct FetchContext {
    settings: Arc<Settings>,
    /// Partitions whose lag is shown, by topic.
    shown: Mutex<BTreeMap<&'static str, BTreeSet<i32>>>,
}

impl FetchContext {
    /// What is no longer read here must not show for ever the lag that it had at last.
    fn show(&self, topic: Topic, lags: &BTreeMap<i32, i64>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.insert(topic.name(), lags.keys().copied().collect());
        let gone = before.unwrap_or_default().into_iter().map(|partition| (partition, 0));
        // The present ones come last, and so win.
        for (partition, lag) in gone.chain(lags.iter().map(|(partition, lag)| (*partition, *lag))) {
            let labels = [("topic", topic.name().to_owned()), ("partition", partition.to_string())];
            metrics::gauge!("grid_bus_lag_messages", &labels).set(lag.max(0) as f64);
        }
    }
}

impl ClientContext for FetchContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Errors of a partition arrive in its queue too. And the library asks for the group that a fetcher only names: a
        // worker has no right to it, and needs none.
        let known = [
            RDKafkaErrorCode::AutoOffsetReset,
            RDKafkaErrorCode::GroupAuthorizationFailed,
        ];
        if error.rdkafka_error_code().is_none_or(|code| !known.contains(&code)) {
            log_error(&error, reason);
        }
    }

    /// Depth of the queues and distance to the end, as the library counts them.
    fn stats(&self, statistics: Statistics) {
        for (name, topic) in &statistics.topics {
            let Some(known) = self.settings.topic_of(name) else {
                continue;
            };
            let (mut messages, mut bytes, mut lags) = (0, 0, BTreeMap::new());
            for partition in topic
                .partitions
                .values()
                .filter(|partition| partition.fetch_state == "active")
            {
                messages += partition.fetchq_cnt;
                bytes += partition.fetchq_size;
                if partition.hi_offset >= 0 && partition.app_offset >= 0 {
                    lags.insert(partition.partition, partition.hi_offset - partition.app_offset);
                }
            }
            self.show(known, &lags);
            metrics::gauge!("grid_bus_fetched_messages", "topic" => known.name()).set(messages as f64);
            metrics::gauge!("grid_bus_fetched_bytes", "topic" => known.name()).set(bytes as f64);
        }
    }
}

impl ConsumerContext for FetchContext {}

/// A reader of one partition.
pub struct KafkaSubscription {
    /// There until the end.
    queue: Option<PartitionQueue<FetchContext>>,
    /// Why it is over, when it is.
    ended: Option<RecvError>,
    waker: Arc<AtomicWaker>,
    fetcher: Arc<Fetcher>,
    name: String,
    place: Place,
    position: i64,
    meters: Meters,
    positions: Arc<[AtomicI64]>,
}

impl KafkaSubscription {
    fn list(&self, offset: Offset) -> Result<TopicPartitionList, BusError> {
        let (topic, partition) = self.place;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.name, i32::from(partition), offset)
            .map_err(|error| BusError::Topics(format!("{topic}, partition {partition}: {error}")))?;
        Ok(list)
    }

    pub(in crate::bus) fn position(&self) -> i64 {
        self.position
    }

    fn note_position(&self) {
        if let (Topic::Commands, partition) = self.place {
            self.positions[usize::from(partition)].store(self.position, Ordering::Release);
        }
    }

    pub(in crate::bus) fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<Record>,
        max: usize,
    ) -> Poll<Result<usize, RecvError>> {
        let Some(queue) = &self.queue else {
            return Poll::Ready(Err(self.ended.clone().unwrap_or(RecvError::Closed)));
        };
        // First the waker, then the look: the callback comes only when an empty queue gets something.
        self.waker.register(cx.waker());
        let (mut count, mut bytes) = (0, 0);
        while count < max && bytes < BATCH_BYTES {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let record = to_record(&message);
                    self.position = record.offset + 1;
                    bytes += record.message.cost_bytes();
                    buffer.push(record);
                    count += 1;
                }
                Some(Err(error)) => {
                    self.ended = self.end_by(&error);
                    if self.ended.is_some() {
                        break;
                    }
                }
            }
        }
        if self.ended.is_none() && self.fetcher.stopping.load(Ordering::Acquire) {
            self.ended = Some(RecvError::Closed);
        }
        if let Some(ended) = &self.ended {
            self.queue = None;
            // What was read before the end is handed over first.
            if count == 0 {
                return Poll::Ready(Err(ended.clone()));
            }
        } else if count == 0 && max > 0 {
            return Poll::Pending;
        }
        self.note_position();
        self.meters[self.place.0.index()].count_received(count as u64);
        Poll::Ready(Ok(count))
    }

    /// Most errors are told while the library goes on trying; a lost place in the log is for good.
    fn end_by(&self, error: &KafkaError) -> Option<RecvError> {
        let (topic, partition) = self.place;
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ) => {
                tracing::error!(%topic, partition, offset = self.position, %error, "bus.subscription.out_of_range");
                Some(RecvError::OutOfRange {
                    topic,
                    partition,
                    offset: self.position,
                })
            }
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::TopicAuthorizationFailed) => Some(RecvError::Failed {
                topic,
                partition,
                why: error.to_string(),
            }),
            _ => {
                tracing::warn!(%topic, partition, %error, "bus.subscription");
                None
            }
        }
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.queue = None;
        if let Ok(list) = self.list(Offset::Invalid)
            && let Err(error) = self.fetcher.consumer.incremental_unassign(&list)
        {
            tracing::debug!(topic = %self.place.0, partition = self.place.1, %error, "bus.unsubscribe");
        }
        self.fetcher.free(self.place);
    }
}

fn to_record(message: &BorrowedMessage<'_>) -> Record {
    let key = message.key();
    let payload = message.payload().unwrap_or_default();
    // One allocation for both.
    let mut bytes = BytesMut::with_capacity(payload.len() + key.map_or(0, <[u8]>::len));
    bytes.put_slice(payload);
    bytes.put_slice(key.unwrap_or_default());
    let mut bytes = bytes.freeze();
    let key = key.map(|key| bytes.split_off(bytes.len() - key.len()));
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let owned = |header: rdkafka::message::Header<'_, &[u8]>| {
            (
                header.key.to_owned().into(),
                Bytes::copy_from_slice(header.value.unwrap_or_default()),
            )
        };
        headers.iter().map(owned).collect()
    });
    Record {
        offset: message.offset(),
        timestamp: Timestamp::from_ms(message.timestamp().to_millis().unwrap_or(0)),
        message: Message {
            key,
            headers,
            payload: bytes,
        },
    }
}
