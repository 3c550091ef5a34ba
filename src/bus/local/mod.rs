//! The bus inside the process: one log in memory a partition.
//!
//! Must stay true: a message of a kept topic ([`Topic::is_kept`]) stays until it is trimmed, so that a shard that is
//! loaded anew reads it again; one of any other topic stays until every subscription of its partition has read it, and
//! goes at once when there is none. Nobody wakes up when nothing is sent.

mod group;
mod log;
mod ordered;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

pub(super) use group::LocalGroup;
pub(super) use log::LocalSubscription;
use log::PartitionLog;
pub(super) use ordered::LocalOrdered;

use super::membership::{Claims, Group};
use super::meter::{Meters, check_message, meters};
use super::{
    Bus, BusError, BusOptions, Delivery, DeliveryError, Membership, Message, OrderedProducer, Partitions, SendError,
    Start, Subscription, Topic,
};
use crate::clock;

/// The bus inside the process. Its identity is new with every one.
pub struct LocalBus {
    identity: String,
    core: Arc<Core>,
    group: Arc<LocalGroup>,
}

/// What the bus and its ordered producers share.
struct Core {
    partitions: Partitions,
    /// By [`Topic::index`], then by partition.
    logs: [Vec<Arc<PartitionLog>>; 6],
    meters: Meters,
    most_message_bytes: usize,
    closed: AtomicBool,
}

impl LocalBus {
    pub fn new(options: &BusOptions, shards: u16) -> Self {
        let partitions = Partitions::new(options, shards);
        let meters = meters(options);
        let logs = Topic::ALL.map(|topic| {
            (0..partitions.of(topic))
                .map(|partition| Arc::new(PartitionLog::new(topic, partition, options.partition_bytes, &meters)))
                .collect()
        });
        let most_message_bytes = options.max_message_bytes as usize;
        let core = Core {
            partitions,
            logs,
            meters,
            most_message_bytes,
            closed: AtomicBool::new(false),
        };
        let identity = format!("local-{}", uuid::Uuid::new_v4());
        Self {
            identity,
            core: Arc::new(core),
            group: Arc::default(),
        }
    }
}

impl Core {
    fn log(&self, topic: Topic, partition: u16) -> Result<&Arc<PartitionLog>, BusError> {
        let logs = &self.logs[topic.index()];
        let partitions = self.partitions.of(topic);
        logs.get(usize::from(partition)).ok_or(BusError::NoPartition {
            topic,
            partition,
            partitions,
        })
    }

    /// Appends and wakes the readers; gives the offset.
    fn append(&self, topic: Topic, partition: u16, message: Message) -> Result<i64, SendError> {
        let meter = &self.meters[topic.index()];
        let checked = check_message(
            topic,
            partition,
            self.partitions.of(topic),
            &message,
            self.most_message_bytes,
        );
        let appended = checked.and_then(|()| {
            if self.closed.load(Ordering::Acquire) {
                return Err(SendError::Closed);
            }
            self.logs[topic.index()][usize::from(partition)].append(message, clock::now())
        });
        match &appended {
            Ok(_) => meter.count_sent(1),
            Err(error) => meter.count_error(error.kind()),
        }
        appended
    }
}

#[async_trait]
impl Bus for LocalBus {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn partitions(&self) -> &Partitions {
        &self.core.partitions
    }

    fn send(&self, topic: Topic, partition: u16, message: Message) -> Result<Delivery, SendError> {
        let offset = self.core.append(topic, partition, message)?;
        Ok(Delivery::known(Ok::<_, DeliveryError>(offset)))
    }

    fn post(&self, topic: Topic, partition: u16, message: Message) -> bool {
        let sent = self.core.append(topic, partition, message);
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
        let meter = &self.core.meters[topic.index()];
        meter
            .when_room(patience, || self.send(topic, partition, message.clone()))
            .await
    }

    fn ordered_producer(&self) -> Result<OrderedProducer, BusError> {
        Ok(OrderedProducer::local(LocalOrdered::new(&self.core)))
    }

    async fn range(&self, topic: Topic, partition: u16) -> Result<(i64, i64), BusError> {
        Ok(self.core.log(topic, partition)?.range())
    }

    async fn subscribe(&self, topic: Topic, partition: u16, from: Start) -> Result<Subscription, BusError> {
        if self.core.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        LocalSubscription::new(self.core.log(topic, partition)?, from).map(Subscription::local)
    }

    fn trim(&self, topic: Topic, partition: u16, below: i64) {
        if let Ok(log) = self.core.log(topic, partition) {
            log.trim(below);
        }
    }

    async fn join(&self) -> Result<Membership, BusError> {
        self.group.join()?;
        let claims = Arc::new(Claims::default());
        let all: Vec<u16> = (0..self.core.partitions.of(Topic::Commands)).collect();
        claims.assign(&all);
        Ok(Membership::new(claims, Group::Local(Arc::clone(&self.group))))
    }

    async fn close(&self, _patience: Duration) -> Result<(), BusError> {
        self.core.closed.store(true, Ordering::Release);
        for log in self.core.logs.iter().flatten() {
            log.close();
        }
        for meter in self.core.meters.iter() {
            meter.wake_all();
        }
        Ok(())
    }
}
