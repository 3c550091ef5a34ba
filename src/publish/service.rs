//! The actor around the machine: one thing at a time, publish or read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::prelude::*;
use bytes::Bytes;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::encode::encode;
use super::machine::{Asked, Batch, Item, Machine, Next, Options};
use crate::bus::{Bus, BusError, OrderedProducer};
use crate::clock;
use crate::domain::{Epoch, Seq, ShardId};
use crate::log::{Error as LogError, ShardPage};

/// Reads a page of the log: events of a shard after a place, so many at most.
pub type ReadLog = Arc<dyn Fn(ShardId, Seq, usize) -> BoxFuture<'static, Result<ShardPage, LogError>> + Send + Sync>;

/// There may be something to do.
struct Wake;

impl Message for Wake {
    type Result = ();
}

struct Stop;

impl Message for Stop {
    type Result = ();
}

/// Publishes what the shards of this process commit.
pub struct Publisher {
    machine: Arc<Mutex<Machine>>,
    read: ReadLog,
    source: Bytes,
    most_bytes: usize,
    /// Away while something is being done with it.
    producer: Option<OrderedProducer>,
    timer: Option<SpawnHandle>,
}

/// The way in: cheap to clone; no call blocks.
#[derive(Clone)]
pub struct PublisherHandle {
    machine: Arc<Mutex<Machine>>,
    address: Addr<Publisher>,
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    /// Starts the actor in the present arbiter. `most_bytes`: the limit of the bus for one message.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub fn start(
        options: Options,
        bus: &dyn Bus,
        read: ReadLog,
        timeline: Uuid,
        most_bytes: usize,
    ) -> Result<PublisherHandle, BusError> {
        let machine = Arc::new(Mutex::new(Machine::new(options)));
        let publisher = Self {
            machine: Arc::clone(&machine),
            read,
            source: Bytes::from(format!("/grid/{timeline}")),
            most_bytes,
            producer: Some(bus.ordered_producer()?),
            timer: None,
        };
        Ok(PublisherHandle {
            machine,
            address: Actor::start(publisher),
        })
    }

    /// Does what is next, unless something is under way.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let Some(producer) = self.producer.take() else { return };
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let (next, backlog) = {
            let mut machine = lock(&self.machine);
            (machine.next(clock::now()), machine.backlog())
        };
        metrics::gauge!("grid_publish_lag_events").set(backlog.0 as f64);
        metrics::gauge!("grid_publish_buffered_bytes").set(backlog.1 as f64);
        let work = match next {
            Next::Publish(batch) => Work::Publish(batch),
            Next::Read { asked, limit } => Work::Read(asked, limit),
            Next::Resume => Work::Resume,
            Next::Wait(until) => {
                self.producer = Some(producer);
                let wait = until.since(clock::now()) + std::time::Duration::from_millis(1);
                self.timer = Some(ctx.run_later(wait, |actor, ctx| {
                    actor.timer = None;
                    actor.go_on(ctx);
                }));
                return;
            }
            Next::Idle => {
                self.producer = Some(producer);
                return;
            }
        };
        let step = Step {
            machine: Arc::clone(&self.machine),
            read: Arc::clone(&self.read),
            source: self.source.clone(),
            most_bytes: self.most_bytes,
            producer,
        };
        ctx.spawn(step.run(work).into_actor(self).map(|producer, actor, ctx| {
            actor.producer = Some(producer);
            actor.go_on(ctx);
        }));
    }
}

enum Work {
    Publish(Batch),
    Read(Asked, usize),
    Resume,
}

/// One thing to be done, with all that it takes.
struct Step {
    machine: Arc<Mutex<Machine>>,
    read: ReadLog,
    source: Bytes,
    most_bytes: usize,
    producer: OrderedProducer,
}

impl Step {
    async fn run(mut self, work: Work) -> OrderedProducer {
        match work {
            Work::Publish(batch) => self.publish(&batch).await,
            Work::Read(asked, limit) => self.read(asked, limit).await,
            Work::Resume => {
                self.producer.resume().await;
                lock(&self.machine).resumed();
            }
        }
        self.producer
    }

    async fn publish(&mut self, batch: &Batch) {
        let mut encoded = encode(batch, &self.source, self.most_bytes);
        for (shard, seq, why) in &encoded.passed_over {
            metrics::counter!("grid_publish_passed_over_total").increment(1);
            tracing::error!(shard = shard.0, seq = seq.0, why, "publish.event.passed_over");
        }
        let messages = std::mem::take(&mut encoded.messages);
        let patience = lock(&self.machine).options().patience;
        let count = messages.len();
        metrics::histogram!("grid_publish_batch_events").record(count as f64);
        let (acked, whole) = match self.producer.publish(messages, patience).await {
            Ok(()) => (count, true),
            Err(error) => {
                metrics::counter!("grid_publish_failures_total").increment(1);
                tracing::warn!(%error, "publish.interrupted");
                (error.index, false)
            }
        };
        metrics::counter!("grid_publish_events_total").increment(acked as u64);
        lock(&self.machine).delivered(&encoded.last_of(acked), whole, clock::now());
    }

    async fn read(&mut self, asked: Asked, limit: usize) {
        metrics::counter!("grid_publish_log_reads_total").increment(1);
        match (self.read)(asked.shard, asked.after, limit).await {
            Ok(page) => {
                let item = |event: crate::log::StoredEvent| Item {
                    seq: event.position.seq,
                    stream: event.stream,
                    version: event.version,
                    payload: event.payload,
                };
                let items = page.events.into_iter().map(item).collect();
                lock(&self.machine).page(asked, items, page.through, clock::now());
            }
            Err(error) => {
                tracing::warn!(shard = asked.shard.0, %error, "publish.log.unread");
                lock(&self.machine).unread(asked, clock::now());
            }
        }
    }
}

impl Actor for Publisher {
    type Context = Context<Self>;
}

impl Handler<Wake> for Publisher {
    type Result = ();
    fn handle(&mut self, _: Wake, ctx: &mut Context<Self>) {
        self.go_on(ctx);
    }
}

impl Handler<Stop> for Publisher {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl PublisherHandle {
    fn wake(&self) {
        // A full mailbox is a publisher that is awake.
        drop(self.address.try_send(Wake));
    }

    /// The shard belongs to this process from now on. `next`: place of its next event; `published`: its stored cursor,
    /// 0 when the bus or the timeline is another one than that of the cursor.
    pub fn own(&self, shard: ShardId, epoch: Epoch, next: Seq, published: Seq) {
        lock(&self.machine).own(shard, epoch, next, published);
        self.wake();
    }

    /// The shard does not belong to this process any more; what is under way may still arrive.
    pub fn disown(&self, shard: ShardId) {
        lock(&self.machine).disown(shard);
    }

    /// Events that have just been committed, in order.
    pub fn feed(&self, shard: ShardId, epoch: Epoch, items: impl IntoIterator<Item = Item>) {
        lock(&self.machine).feed(shard, epoch, items);
        self.wake();
    }

    /// The shard's cursor, to be stored with its next commit. `None` when it is not owned.
    pub fn published(&self, shard: ShardId) -> Option<Seq> {
        lock(&self.machine).published(shard)
    }

    /// How many events of this process' shards are not yet acknowledged, as far as is known here.
    pub fn lag(&self) -> u64 {
        lock(&self.machine).backlog().0
    }

    /// Ends the publisher. What is not acknowledged is published by the next owner.
    pub fn stop(&self) {
        drop(self.address.try_send(Stop));
    }
}
