//! A bus that fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::bus::{
    Bus, BusError, BusOptions, Delivery, LocalBus, Membership, Message, OrderedProducer, Partitions, SendError, Start,
    Subscription, Topic,
};

pub(super) const SHARDS: u16 = 4;

pub(super) struct FaultyBus {
    inner: LocalBus,
    /// Takes no heartbeats.
    pub(super) deaf: AtomicBool,
    /// Panics at the next heartbeat.
    pub(super) explodes: AtomicBool,
}

impl FaultyBus {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: LocalBus::new(&BusOptions::default(), SHARDS),
            deaf: AtomicBool::new(false),
            explodes: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Bus for FaultyBus {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn partitions(&self) -> &Partitions {
        self.inner.partitions()
    }

    fn send(&self, topic: Topic, partition: u16, message: Message) -> Result<Delivery, SendError> {
        if topic == Topic::Heartbeats && message.payload.starts_with(br#"{"type":"Worker"#) {
            assert!(!self.explodes.swap(false, Ordering::SeqCst), "this bus explodes");
            if self.deaf.load(Ordering::SeqCst) {
                return Err(SendError::Full { topic });
            }
        }
        self.inner.send(topic, partition, message)
    }

    fn post(&self, topic: Topic, partition: u16, message: Message) -> bool {
        self.inner.post(topic, partition, message)
    }

    async fn send_wait(
        &self,
        topic: Topic,
        partition: u16,
        message: Message,
        patience: Duration,
    ) -> Result<Delivery, SendError> {
        self.inner.send_wait(topic, partition, message, patience).await
    }

    fn ordered_producer(&self) -> Result<OrderedProducer, BusError> {
        self.inner.ordered_producer()
    }

    async fn range(&self, topic: Topic, partition: u16) -> Result<(i64, i64), BusError> {
        self.inner.range(topic, partition).await
    }

    async fn subscribe(&self, topic: Topic, partition: u16, from: Start) -> Result<Subscription, BusError> {
        self.inner.subscribe(topic, partition, from).await
    }

    fn trim(&self, topic: Topic, partition: u16, below: i64) {
        self.inner.trim(topic, partition, below);
    }

    async fn join(&self) -> Result<Membership, BusError> {
        self.inner.join().await
    }

    async fn close(&self, patience: Duration) -> Result<(), BusError> {
        self.inner.close(patience).await
    }
}
