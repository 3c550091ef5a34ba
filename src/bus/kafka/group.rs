//! The membership in Kafka's consumer group: it shares out the partitions of the commands and reads nothing.
//!
//! Must stay true: the group's consumer is polled all the time by a thread of its own; a revoke is answered when the
//! owner released, or the deadline passed; every partition of the member is paused, since [`super::fetch`] reads.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::{Settings, log_error, log_line};
use crate::bus::membership::Claims;
use crate::bus::{BusError, ProveError, Topic};

type GroupConsumer = BaseConsumer<GroupContext>;

/// One membership.
pub struct KafkaGroup {
    settings: Arc<Settings>,
    claims: Arc<Claims>,
    positions: Arc<[AtomicI64]>,
    /// The consumer of the moment; nothing after the end.
    consumer: Mutex<Option<Arc<GroupConsumer>>>,
    stopping: AtomicBool,
    /// True when the thread is done and the group was left.
    left: watch::Sender<bool>,
}

impl KafkaGroup {
    pub(super) fn join(
        settings: &Arc<Settings>,
        positions: &Arc<[AtomicI64]>,
        claims: &Arc<Claims>,
    ) -> Result<Arc<Self>, BusError> {
        let group = Arc::new(Self {
            settings: Arc::clone(settings),
            claims: Arc::clone(claims),
            positions: Arc::clone(positions),
            consumer: Mutex::new(None),
            stopping: AtomicBool::new(false),
            left: watch::Sender::new(false),
        });
        let consumer = group.new_consumer()?;
        let serving = Arc::clone(&group);
        let thread = std::thread::Builder::new().name("grid-bus-group".to_owned());
        let started = thread.spawn(move || serving.serve(consumer));
        started.map_err(|error| BusError::Properties(format!("a thread could not be started: {error}")))?;
        Ok(group)
    }

    fn new_consumer(&self) -> Result<Arc<GroupConsumer>, BusError> {
        let context = GroupContext {
            claims: Arc::clone(&self.claims),
            patience: self.settings.kafka.revoke_timeout,
        };
        let consumer: GroupConsumer = self
            .settings
            .member()
            .create_with_context(context)
            .map_err(|error| BusError::Properties(error.to_string()))?;
        consumer
            .subscribe(&[self.settings.name(Topic::Commands)])
            .map_err(|error| BusError::Topics(error.to_string()))?;
        let consumer = Arc::new(consumer);
        *self.lock() = Some(Arc::clone(&consumer));
        Ok(consumer)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<GroupConsumer>>> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut consumer: Arc<GroupConsumer>) {
        while !self.stopping.load(Ordering::Acquire) {
            // A paused partition gives nothing; what came before the pause is read elsewhere.
            if let Some(Err(error)) = consumer.poll(Duration::from_millis(200)) {
                tracing::debug!(%error, "bus.group");
            }
            let Some((code, why)) = consumer.client().fatal_error() else {
                continue;
            };
            tracing::error!(%code, why, "bus.group.fatal");
            self.claims.lose_all();
            match self.new_consumer() {
                // The old one is closed here, on this thread.
                Ok(next) => consumer = next,
                Err(error) => {
                    tracing::error!(%error, "bus.group.renew");
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
        *self.lock() = None;
        // The last reference in most cases: a dropped consumer leaves the group.
        drop(consumer);
        self.left.send_replace(true);
    }

    /// Leaves in the background.
    pub(in crate::bus) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Leaves, and waits until it is done.
    pub(in crate::bus) async fn leave(&self) {
        self.stop();
        let mut left = self.left.subscribe();
        let done = left.wait_for(|left| *left);
        if tokio::time::timeout(self.settings.kafka.request_timeout, done)
            .await
            .is_err()
        {
            tracing::warn!("bus.group.leave.overdue");
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Commits the partition's read position. The broker takes it from a member of the current generation alone.
    pub(in crate::bus) async fn prove(&self, partition: u16) -> Result<(), ProveError> {
        const PAUSE: Duration = Duration::from_millis(50);
        let patience = self.settings.kafka.request_timeout;
        let deadline = Instant::now() + patience;
        let mut why = format!("no answer within {patience:?}");
        loop {
            let Some(consumer) = self.lock().clone() else {
                return Err(ProveError::NotOwner { partition });
            };
            let offset = self.positions[usize::from(partition)].load(Ordering::Acquire).max(0);
            let name = self.settings.name(Topic::Commands).to_owned();
            // The call waits for the broker: not on a thread that others need. It ends by itself when nobody waits.
            let committed = tokio::task::spawn_blocking(move || commit(&consumer, &name, partition, offset));
            match tokio::time::timeout_at(deadline, committed).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(error))) if is_refusal(&error) => {
                    tracing::info!(partition, %error, "bus.prove.refused");
                    return Err(ProveError::NotOwner { partition });
                }
                Ok(Ok(Err(error))) => why = error.to_string(),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => return Err(ProveError::Unavailable { partition, why }),
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(ProveError::Unavailable { partition, why });
            }
            // A rebalance or a change of the coordinator, of which nobody is told when it is over.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn commit(consumer: &GroupConsumer, name: &str, partition: u16, offset: i64) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(name, i32::from(partition), Offset::Offset(offset))?;
    consumer.commit(&list, CommitMode::Sync)
}

/// Whether the broker says that this member is not one, or not of this generation.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::AssignmentLost
                | RDKafkaErrorCode::Fatal
        )
    )
}

struct GroupContext {
    claims: Arc<Claims>,
    patience: Duration,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &GroupConsumer, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<u16> = list
            .elements()
            .iter()
            .filter_map(|element| u16::try_from(element.partition()).ok())
            .collect();
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                tracing::info!(?partitions, "bus.group.assigned");
                // From the end and paused at once: nothing is read by this consumer.
                let assigned = list
                    .set_all_offsets(Offset::End)
                    .and_then(|()| consumer.incremental_assign(list))
                    .and_then(|()| consumer.pause(list));
                match assigned {
                    Ok(()) => self.claims.assign(&partitions),
                    Err(error) => tracing::error!(?partitions, %error, "bus.group.assign"),
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if consumer.assignment_lost() {
                    tracing::warn!(?partitions, "bus.group.lost");
                    self.claims.lose(&partitions);
                } else {
                    tracing::info!(?partitions, "bus.group.revoked");
                    self.claims.revoke(&partitions, self.patience);
                }
                if let Err(error) = consumer.incremental_unassign(list) {
                    tracing::error!(?partitions, %error, "bus.group.unassign");
                }
            }
            _ => {
                tracing::error!(code = ?err, "bus.group.rebalance");
                self.claims.lose_all();
                if let Err(error) = consumer.unassign() {
                    tracing::error!(%error, "bus.group.unassign");
                }
            }
        }
    }
}
