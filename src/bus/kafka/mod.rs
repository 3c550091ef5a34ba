//! The bus over Kafka.
//!
//! Must stay true: clients close on threads of their own (librdkafka's close can hang); no call blocks a thread of the
//! runtime for as long as a broker takes to answer.

mod admin;
mod asking;
mod fetch;
mod group;
#[cfg(test)]
mod mock;
mod ordered;
mod producer;
mod settings;
mod waiting;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::Consumer;

pub use admin::{Change, migrate};
pub(super) use fetch::KafkaSubscription;
pub(super) use group::KafkaGroup;
pub(super) use ordered::KafkaOrdered;

use admin::{Admin, blocking};
use asking::Asking;
use fetch::Fetchers;
use ordered::Ordered;
use producer::Producer;
use settings::Settings;

use super::membership::{Claims, Group};
use super::meter::{Meters, meters};
use super::{
    Bus, BusError, BusOptions, Delivery, KafkaOptions, Membership, Message, OrderedProducer, Partitions, SendError,
    Start, Subscription, Topic,
};

/// The bus over Kafka. Its identity is the cluster's id.
pub struct KafkaBus {
    identity: String,
    settings: Arc<Settings>,
    meters: Meters,
    producer: Arc<Producer>,
    /// Made when the first publisher asks.
    ordered: OnceLock<Arc<Ordered>>,
    fetchers: Arc<Fetchers>,
    /// Asks for offsets.
    asking: Arc<Asking>,
    group: Mutex<Option<Arc<KafkaGroup>>>,
    closed: AtomicBool,
}

impl KafkaBus {
    /// Reaches the brokers and checks the topics.
    ///
    /// # Errors
    /// When no broker answers within `kafka.connect_timeout`, or the topics are not as `grid migrate` makes them.
    pub async fn connect(bus: &BusOptions, kafka: &KafkaOptions, shards: u16) -> Result<Self, BusError> {
        Self::connect_to(&Topic::ALL, bus, kafka, shards).await
    }

    /// As [`KafkaBus::connect`], for who uses these topics only, and may not even have the right to see others.
    ///
    /// # Errors
    /// Likewise.
    pub async fn connect_to(
        topics: &[Topic],
        bus: &BusOptions,
        kafka: &KafkaOptions,
        shards: u16,
    ) -> Result<Self, BusError> {
        let settings = Arc::new(Settings::new(bus, kafka, shards)?);
        let admin = Admin::new(&settings)?;
        let identity = admin.reach().await?;
        admin.check(topics).await?;
        let meters = meters(bus);
        Ok(Self {
            identity,
            producer: Arc::new(Producer::start(&settings, &meters)?),
            ordered: OnceLock::new(),
            fetchers: Arc::new(Fetchers::new(&settings, &meters)),
            asking: Arc::new(asking::asking(&settings)?),
            group: Mutex::new(None),
            closed: AtomicBool::new(false),
            settings,
            meters,
        })
    }

    fn check_partition(&self, topic: Topic, partition: u16) -> Result<(), BusError> {
        let partitions = self.settings.partitions.of(topic);
        if partition < partitions {
            Ok(())
        } else {
            Err(BusError::NoPartition {
                topic,
                partition,
                partitions,
            })
        }
    }
}

#[async_trait]
impl Bus for KafkaBus {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn partitions(&self) -> &Partitions {
        &self.settings.partitions
    }

    fn send(&self, topic: Topic, partition: u16, message: Message) -> Result<Delivery, SendError> {
        let receiver = self.producer.send(topic, partition, &message, true)?;
        receiver.map(Delivery::awaited).ok_or(SendError::Closed)
    }

    fn post(&self, topic: Topic, partition: u16, message: Message) -> bool {
        let sent = self.producer.send(topic, partition, &message, false);
        if let Err(error) = &sent {
            tracing::debug!(%topic, partition, %error, "bus.post.refused");
        }
        sent.is_ok()
    }

    async fn send_wait(
        &self,
        topic: Topic,
        partition: u16,
        message: Message,
        patience: Duration,
    ) -> Result<Delivery, SendError> {
        let meter = &self.meters[topic.index()];
        let receiver = meter
            .when_room(patience, || self.producer.send(topic, partition, &message, true))
            .await?;
        receiver.map(Delivery::awaited).ok_or(SendError::Closed)
    }

    fn ordered_producer(&self) -> Result<OrderedProducer, BusError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        if let Some(ordered) = self.ordered.get() {
            return Ok(OrderedProducer::kafka(ordered.handle()));
        }
        let started = Ordered::start(&self.settings, &self.meters)?;
        Ok(OrderedProducer::kafka(self.ordered.get_or_init(|| started).handle()))
    }

    async fn range(&self, topic: Topic, partition: u16) -> Result<(i64, i64), BusError> {
        self.check_partition(topic, partition)?;
        let asking = Arc::clone(&self.asking);
        let name = self.settings.name(topic).to_owned();
        let waited = self.settings.kafka.request_timeout;
        blocking("range", move || {
            asking
                .fetch_watermarks(&name, i32::from(partition), waited)
                .map_err(|error| BusError::Unavailable {
                    what: format!("range of {name}, partition {partition}"),
                    waited,
                    why: error.to_string(),
                })
        })
        .await
    }

    async fn subscribe(&self, topic: Topic, partition: u16, from: Start) -> Result<Subscription, BusError> {
        let (low, high) = self.range(topic, partition).await?;
        let offset = match from {
            Start::Beginning => low,
            Start::End => high,
            Start::Offset(offset) if (low..=high).contains(&offset) => offset,
            Start::Offset(offset) => {
                return Err(BusError::OutOfRange {
                    topic,
                    partition,
                    offset,
                    low,
                    high,
                });
            }
        };
        let fetchers = Arc::clone(&self.fetchers);
        let reader = blocking("subscribe", move || fetchers.subscribe((topic, partition), offset)).await?;
        Ok(Subscription::kafka(reader))
    }

    fn trim(&self, _topic: Topic, _partition: u16, _below: i64) {
        // Kafka keeps by time.
    }

    async fn join(&self) -> Result<Membership, BusError> {
        let mut joined = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        if joined.as_ref().is_some_and(|group| !group.is_stopping()) {
            return Err(BusError::AlreadyJoined);
        }
        let claims = Arc::new(Claims::default());
        let group = KafkaGroup::join(&self.settings, self.fetchers.positions(), &claims)?;
        *joined = Some(Arc::clone(&group));
        Ok(Membership::new(claims, Group::Kafka(group)))
    }

    async fn close(&self, patience: Duration) -> Result<(), BusError> {
        self.closed.store(true, Ordering::Release);
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(group) = group {
            group.leave().await;
        }
        let (producer, ordered) = (Arc::clone(&self.producer), self.ordered.get().cloned());
        let messages = blocking("close", move || {
            Ok(producer.close(patience) + ordered.map_or(0, |ordered| ordered.close(patience)))
        })
        .await?;
        self.fetchers.close();
        self.meters.iter().for_each(super::meter::Meter::wake_all);
        if messages == 0 {
            Ok(())
        } else {
            Err(BusError::Unsent { messages })
        }
    }
}

impl Drop for KafkaBus {
    fn drop(&mut self) {
        if let Some(group) = self.group.lock().unwrap_or_else(PoisonError::into_inner).take() {
            group.stop();
        }
        if let Some(ordered) = self.ordered.get() {
            ordered.close(Duration::ZERO);
        }
        self.fetchers.close();
    }
}
