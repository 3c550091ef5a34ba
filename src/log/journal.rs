//! The journal: commits the batches of all shards of this process, one statement at a time.
//!
//! The actor is a thin shell over [`Gather`]: while one statement is on its way, the next one gathers. Encoding and
//! hashing are done by the callers, or on a blocking thread when there is much of it.
//!
//! Must stay true: what waits is bounded in bytes; every batch gets exactly one outcome; a journal that dies answers
//! "unknown" and its successor fences everybody until they claim anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use metrics::{counter, gauge, histogram};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::batch::{CommitOutcome, Encoded, ShardBatch};
use super::chain::Hash;
use super::claim::Claimed;
use super::commit::Writer;
use super::gather::{Chained, Gather, Limits};
use super::{Error, Log};
use crate::domain::{Epoch, ShardId};

/// Bounds of the journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Most events in one statement; a larger batch goes alone.
    pub statement_events: usize,
    /// Most bytes of payload in one statement.
    pub statement_bytes: usize,
    /// Bytes that may wait or be on their way; beyond it callers wait.
    pub queue_bytes: usize,
    /// A batch of more events is encoded on a blocking thread.
    pub inline_events: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            statement_events: 8_192,
            statement_bytes: 8 << 20,
            queue_bytes: 64 << 20,
            inline_events: 128,
        }
    }
}

/// Whom to tell, and what its place in the queue costs.
struct Ticket {
    reply: oneshot::Sender<CommitOutcome>,
    asked: Instant,
    _room: OwnedSemaphorePermit,
}

/// The actor.
pub struct Journal {
    log: Log,
    gather: Gather<Ticket>,
    writer: Option<Writer>,
}

struct Append {
    encoded: Encoded,
    ticket: Ticket,
}

impl Message for Append {
    type Result = ();
}

struct Opened {
    shard: ShardId,
    epoch: Epoch,
    hash: Hash,
}

impl Message for Opened {
    type Result = ();
}

/// Figures of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalState {
    pub waiting: usize,
    pub waiting_bytes: usize,
    pub busy: bool,
}

struct Observe;

impl Message for Observe {
    type Result = JournalState;
}

impl actix::dev::MessageResponse<Journal, Observe> for JournalState {
    fn handle(self, _: &mut Context<Journal>, reply: Option<actix::dev::OneshotSender<Self>>) {
        if let Some(reply) = reply {
            let _ = reply.send(self);
        }
    }
}

impl Actor for Journal {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // What may wait is bounded in bytes by the handle.
        ctx.set_mailbox_capacity(1024);
    }
}

impl Handler<Append> for Journal {
    type Result = ();
    fn handle(&mut self, append: Append, ctx: &mut Self::Context) {
        self.gather.push(append.encoded, append.ticket);
        self.pump(ctx);
    }
}

impl Handler<Opened> for Journal {
    type Result = ();
    fn handle(&mut self, opened: Opened, _: &mut Self::Context) {
        self.gather.claimed(opened.shard, opened.epoch, opened.hash);
    }
}

impl Handler<Observe> for Journal {
    type Result = JournalState;
    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> JournalState {
        JournalState {
            waiting: self.gather.waiting(),
            waiting_bytes: self.gather.waiting_bytes(),
            busy: self.gather.is_busy(),
        }
    }
}

type Settled = (Writer, Vec<(Chained<Ticket>, CommitOutcome)>);

impl Journal {
    fn new(log: Log, options: JournalOptions) -> Self {
        let limits = Limits {
            events: options.statement_events,
            bytes: options.statement_bytes,
        };
        Self {
            log,
            gather: Gather::new(limits),
            writer: None,
        }
    }

    /// Starts it on the current arbiter.
    pub fn start_here(log: Log, options: JournalOptions) -> JournalHandle {
        JournalHandle::start(log, options, Arbiter::current())
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let taken = self.gather.take();
        for ticket in taken.fenced {
            tell(ticket, CommitOutcome::Fenced);
        }
        gauge!("grid_journal_waiting_batches").set(self.gather.waiting() as f64);
        gauge!("grid_journal_waiting_bytes").set(self.gather.waiting_bytes() as f64);
        if taken.statement.is_empty() {
            return;
        }
        let Some(writer) = self.writer.take().or_else(|| self.new_writer()) else {
            let why = || CommitOutcome::Unknown("the database's URL cannot be used".to_owned());
            let results = taken.statement.into_iter().map(|chained| (chained, why())).collect();
            self.settle(results);
            return;
        };
        let keys: Vec<_> = taken
            .statement
            .iter()
            .map(|it| (it.encoded.batch.shard, it.encoded.batch.epoch))
            .collect();
        let unit = write(writer, taken.statement);
        let task = crate::task::spawn_on(&self.log.inner.runtime, "journal.commit", unit);
        let done = task
            .into_actor(self)
            .map(move |settled: Result<Settled, _>, journal, ctx| {
                match settled {
                    Ok((writer, results)) => {
                        journal.writer = Some(writer);
                        journal.settle(results);
                    }
                    Err(error) => {
                        // The tickets are gone with the task, so their callers are told "unknown" by that.
                        tracing::error!(error = %error, "journal.commit_task_lost");
                        journal.gather.lost(&keys);
                    }
                }
                journal.pump(ctx);
            });
        ctx.spawn(done);
    }

    fn settle(&mut self, results: Vec<(Chained<Ticket>, CommitOutcome)>) {
        for (ticket, outcome) in self.gather.done(results) {
            tell(ticket, outcome);
        }
    }

    fn new_writer(&self) -> Option<Writer> {
        let options = self.log.options();
        let connect = options.journal_options().ok()?;
        Some(Writer::new(connect, options.connect_timeout, options.statement_timeout))
    }
}

async fn write(mut writer: Writer, statement: Vec<Chained<Ticket>>) -> Settled {
    let events: usize = statement.iter().map(|it| it.encoded.payloads.len()).sum();
    let started = Instant::now();
    let outcomes = writer.commit(&statement).await;
    histogram!("grid_journal_statement_seconds").record(started.elapsed().as_secs_f64());
    histogram!("grid_journal_statement_events").record(events as f64);
    histogram!("grid_journal_statement_shards").record(statement.len() as f64);
    counter!("grid_journal_events_total").increment(events as u64);
    (writer, statement.into_iter().zip(outcomes).collect())
}

fn tell(ticket: Ticket, outcome: CommitOutcome) {
    counter!("grid_journal_outcomes_total", "outcome" => outcome.name()).increment(1);
    histogram!("grid_journal_commit_seconds").record(ticket.asked.elapsed().as_secs_f64());
    if let CommitOutcome::Refused(why) | CommitOutcome::Unknown(why) = &outcome {
        tracing::warn!(outcome = outcome.name(), why, "journal.not_committed");
    }
    // A caller that went away has no use for it.
    let _ = ticket.reply.send(outcome);
}

/// The only way to append. Cheap to clone.
#[derive(Clone)]
pub struct JournalHandle {
    inner: Arc<HandleInner>,
}

struct HandleInner {
    log: Log,
    options: JournalOptions,
    arbiter: ArbiterHandle,
    journal: Mutex<Addr<Journal>>,
    room: Arc<Semaphore>,
    room_units: u32,
}

/// The queue's room is counted in units of this many bytes.
const ROOM_UNIT_BYTES: usize = 1024;

impl JournalHandle {
    /// Starts the journal on the given arbiter.
    pub fn start(log: Log, options: JournalOptions, arbiter: ArbiterHandle) -> Self {
        let journal = Mutex::new(start(&log, options, &arbiter));
        let room_units = u32::try_from(options.queue_bytes / ROOM_UNIT_BYTES)
            .unwrap_or(u32::MAX)
            .max(1);
        let room = Arc::new(Semaphore::new(room_units as usize));
        Self {
            inner: Arc::new(HandleInner {
                log,
                options,
                arbiter,
                journal,
                room,
                room_units,
            }),
        }
    }

    /// Claims a shard: from here on no earlier owner can write to it, and this journal can.
    pub async fn claim(&self, shard: ShardId, owner: &str) -> Result<Claimed, Error> {
        let claimed = self.inner.log.claim(shard, owner).await?;
        let opened = Opened {
            shard,
            epoch: claimed.epoch,
            hash: claimed.last_hash,
        };
        self.journal().send(opened).await.map_err(|_| Error::JournalEnded)?;
        Ok(claimed)
    }

    /// Commits a batch. Waits for room first; once it has begun it is carried through even if nobody waits for it.
    pub fn commit(&self, batch: ShardBatch) -> impl Future<Output = CommitOutcome> + Send + 'static + use<> {
        let handle = self.clone();
        async move {
            let asked = Instant::now();
            match handle.append(batch, asked).await {
                Ok(outcome) => outcome,
                Err(error) => CommitOutcome::Unknown(error.to_string()),
            }
        }
    }

    async fn append(&self, batch: ShardBatch, asked: Instant) -> Result<CommitOutcome, Error> {
        let inner = &self.inner;
        let encoded = if batch.events.len() > inner.options.inline_events {
            let encoding = inner.log.inner.runtime.spawn_blocking(move || Encoded::new(batch));
            encoding.await.map_err(|error| Error::Broken(error.to_string()))?
        } else {
            Encoded::new(batch)
        };
        let units = u32::try_from(encoded.bytes / ROOM_UNIT_BYTES + 1)
            .unwrap_or(u32::MAX)
            .min(inner.room_units);
        let room = Arc::clone(&inner.room)
            .acquire_many_owned(units)
            .await
            .map_err(|_| Error::JournalEnded)?;
        let (reply, outcome) = oneshot::channel();
        let append = Append {
            encoded,
            ticket: Ticket {
                reply,
                asked,
                _room: room,
            },
        };
        self.journal().send(append).await.map_err(|_| Error::JournalEnded)?;
        outcome.await.map_err(|_| Error::JournalEnded)
    }

    /// What waits now.
    pub async fn observe(&self) -> Result<JournalState, Error> {
        self.journal().send(Observe).await.map_err(|_| Error::JournalEnded)
    }

    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// The actor; a new one when it has died. That one knows no shard's chain, so all must claim anew.
    fn journal(&self) -> Addr<Journal> {
        let inner = &self.inner;
        let mut journal = inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if !journal.connected() {
            counter!("grid_actor_restarts_total", "actor" => "journal").increment(1);
            tracing::error!("journal.restarted");
            *journal = start(&inner.log, inner.options, &inner.arbiter);
        }
        journal.clone()
    }

    /// Waits until nothing is queued or on its way. New batches may still come.
    pub async fn drained(&self, within: Duration) -> bool {
        let all = self.inner.room.acquire_many(self.inner.room_units);
        tokio::time::timeout(within, all).await.is_ok()
    }
}

fn start(log: &Log, options: JournalOptions, arbiter: &ArbiterHandle) -> Addr<Journal> {
    let log = log.clone();
    Journal::start_in_arbiter(arbiter, move |_| Journal::new(log, options))
}
