//! Answers of shards, brought to those who wait for them.
//!
//! Must stay true: the partition is read from its end before the first command goes out; an answer for another process
//! is passed over; who no longer waits leaves nothing behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bus::{Bus, BusError, Record, Start, Subscription, Topic};
use crate::domain::{Incarnation, Refusal};
use crate::event::{Accepted, Reply, ReplyAddress, Wire};

type Answer = Result<Accepted, Refusal>;

/// How many answers are taken at a time.
const BATCH: usize = 512;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Who waits for which answer.
#[derive(Default)]
pub struct Waiters(Mutex<HashMap<Uuid, oneshot::Sender<Answer>>>);

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&self, correlation: Uuid, answer: Answer) {
        if let Some(waiter) = self.lock().remove(&correlation) {
            // Who asked may have gone.
            let _ = waiter.send(answer);
        }
    }
}

/// A question under way; dropping it forgets the question.
pub struct Waiting {
    waiters: Arc<Waiters>,
    correlation: Uuid,
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.correlation);
        metrics::gauge!("grid_api_commands_unanswered").decrement(1.0);
    }
}

/// Reads this node's partition of the replies.
pub struct Replies {
    node: Incarnation,
    partition: u16,
    waiters: Arc<Waiters>,
    listening: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Replies {
    /// Returns once the end of the partition is known.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    pub async fn start(bus: Arc<dyn Bus>, node: Incarnation) -> Result<Self, BusError> {
        let partitions = bus.partitions().of(Topic::Replies).max(1);
        // The last bytes of a v7 uuid are random.
        let tail = node.0.as_bytes()[14..]
            .iter()
            .fold(0_u16, |tail, byte| (tail << 8) | u16::from(*byte));
        let partition = tail % partitions;
        let subscription = bus.subscribe(Topic::Replies, partition, Start::End).await?;
        let waiters = Arc::new(Waiters::default());
        let listening = Arc::new(AtomicBool::new(true));
        let router = Router {
            bus,
            node,
            partition,
            waiters: Arc::clone(&waiters),
            listening: Arc::clone(&listening),
        };
        let reader = crate::task::spawn("api.replies", router.run(subscription));
        Ok(Self {
            node,
            partition,
            waiters,
            listening,
            reader,
        })
    }

    /// Whether answers can arrive at the moment.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    /// An address for one answer, and where it arrives.
    pub fn expect(&self) -> (ReplyAddress, Waiting) {
        let correlation = Uuid::new_v4();
        let (sender, answer) = oneshot::channel();
        self.waiters.lock().insert(correlation, sender);
        metrics::gauge!("grid_api_commands_unanswered").increment(1.0);
        let address = ReplyAddress {
            partition: self.partition,
            node: self.node,
            correlation,
        };
        (
            address,
            Waiting {
                waiters: Arc::clone(&self.waiters),
                correlation,
                answer,
            },
        )
    }
}

struct Router {
    bus: Arc<dyn Bus>,
    node: Incarnation,
    partition: u16,
    waiters: Arc<Waiters>,
    listening: Arc<AtomicBool>,
}

impl Router {
    async fn run(self, mut subscription: Subscription) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut batch = Vec::new();
            match subscription.recv_many(&mut batch, BATCH).await {
                Ok(_) => {
                    pause = FIRST_PAUSE;
                    self.take(batch);
                }
                Err(error) => {
                    self.listening.store(false, Ordering::Relaxed);
                    tracing::warn!(partition = self.partition, %error, "api.replies.lost");
                    subscription = self.again(&mut pause).await;
                    // What was answered meanwhile is looked up in the log by those who waited for it.
                    self.listening.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    async fn again(&self, pause: &mut Duration) -> Subscription {
        loop {
            tokio::time::sleep(*pause).await;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            match self.bus.subscribe(Topic::Replies, self.partition, Start::End).await {
                Ok(subscription) => return subscription,
                Err(error) => tracing::warn!(partition = self.partition, %error, "api.replies.unreachable"),
            }
        }
    }

    fn take(&self, batch: Vec<Record>) {
        for record in batch {
            match Reply::decode(&record.message.payload) {
                Ok(reply) if reply.node == self.node => self.waiters.resolve(reply.correlation, reply.result),
                Ok(_) => {}
                Err(error) => {
                    metrics::counter!("grid_api_unreadable_replies_total").increment(1);
                    tracing::warn!(offset = record.offset, %error, "api.replies.unreadable");
                }
            }
        }
    }
}
