//! The actix shell around a shard: messages in, commits through the journal, outputs onto the bus.
//!
//! It decides nothing. Whatever goes wrong ends the actor, and with it the shard's memory; the supervisor makes a new
//! one, which claims and loads anew.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;

use super::closing::CloseDays;
use super::gauges::Gauges;
use super::host::{Address, Committed, Host};
use super::machine::{Input, Shard, WorkerGone};
use super::outbox;
use super::poison::{self, Careful, Culprit, MOST_FAILURES, REFUSED, panic_text};
use super::staging::{Batch, JobSnapshot};
use super::supervisor::{Ended, Ending};
use super::traces::Traces;
use crate::bus::{Record, Topic};
use crate::clock;
use crate::domain::{Job, JobId, Seq, ShardId, Timestamp};
use crate::event::Unreadable;
use crate::log::{CommitOutcome, Holders, QuarantineSource, ShardBatch};

/// Records of one of the shard's two partitions, in order.
pub(super) struct Arrived {
    pub source: QuarantineSource,
    pub records: Vec<Record>,
}

impl Message for Arrived {
    type Result = ();
}

/// Credits may be there.
#[derive(Clone, Copy)]
pub(super) struct Wake;

impl Message for Wake {
    type Result = ();
}

/// A worker process is dead.
#[derive(Clone, Copy)]
pub(super) struct Gone(pub WorkerGone);

impl Message for Gone {
    type Result = ();
}

/// The shard shall be closed; what is staged is thrown away.
#[derive(Clone, Copy)]
pub(super) struct Close;

impl Message for Close {
    type Result = ();
}

/// The shard's messages cannot be read any more.
pub(super) struct ReaderFailed(pub String);

impl Message for ReaderFailed {
    type Result = ();
}

/// How often the cursor is written when nothing else is committed.
const CURSOR_EVERY: Duration = Duration::from_secs(300);

/// What the supervisor has prepared.
pub(super) struct Opened {
    pub shard: ShardId,
    pub generation: u64,
    pub machine: Shard,
    pub published: Seq,
    pub dead: Vec<WorkerGone>,
    /// Offsets that are passed over.
    pub quarantined: Vec<(QuarantineSource, i64)>,
    /// The log has refused a batch with messages up to here.
    pub careful: Careful,
    pub gate: watch::Sender<bool>,
    pub traces: Traces,
}

pub(super) struct ShardActor {
    host: Arc<Host>,
    supervisor: Recipient<Ended>,
    shard: ShardId,
    generation: u64,
    machine: Option<Shard>,
    quarantined: Vec<(QuarantineSource, i64)>,
    dead: Vec<WorkerGone>,
    /// Records that wait for their turn; bounded, since the gate is closed while there are any.
    inbox: VecDeque<(QuarantineSource, Record)>,
    careful: Careful,
    /// The one message whose effects the batch under way holds; known only while care is taken.
    suspect: Option<Culprit>,
    /// Closed while the shard can take no more.
    gate: watch::Sender<bool>,
    timer: Option<(Timestamp, SpawnHandle)>,
    ending: Option<Ending>,
    /// A message was counted against for the ending.
    counted: bool,
    published: Seq,
    gauges: Gauges,
    traces: Traces,
}

impl ShardActor {
    pub fn new(host: Arc<Host>, supervisor: Recipient<Ended>, opened: Opened) -> Self {
        Self {
            host,
            supervisor,
            shard: opened.shard,
            generation: opened.generation,
            machine: Some(opened.machine),
            quarantined: opened.quarantined,
            dead: opened.dead,
            inbox: VecDeque::new(),
            careful: opened.careful,
            suspect: None,
            gate: opened.gate,
            timer: None,
            ending: None,
            counted: false,
            published: opened.published,
            gauges: Gauges::of(opened.shard),
            traces: opened.traces,
        }
    }

    /// One turn. A turn that fails ends the actor; `culprit` is then counted against.
    fn turn(&mut self, input: Input, culprit: Option<Culprit>, ctx: &mut Context<Self>) -> bool {
        let Some(machine) = &mut self.machine else { return false };
        machine.write_as(self.host.log.format());
        let turned = catch_unwind(AssertUnwindSafe(|| {
            machine.handle(input, clock::now(), &mut self.host.credits())
        }));
        let why = match turned {
            Ok(Ok(())) => return true,
            Ok(Err(poisoned)) => poisoned.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        let culprit = culprit.or_else(|| Culprit::unparked(machine));
        self.poisoned(why, culprit, ctx);
        false
    }

    fn poisoned(&mut self, why: String, culprit: Option<Culprit>, ctx: &mut Context<Self>) {
        tracing::error!(shard = self.shard.0, why, "shard.turn.failed");
        metrics::counter!("grid_shard_turn_failures_total").increment(1);
        self.end_counting(culprit, Ending::Poisoned(why), ctx);
    }

    /// Ends, and counts a failure against the culprit before that.
    fn end_counting(&mut self, culprit: Option<Culprit>, ending: Ending, ctx: &mut Context<Self>) {
        self.throw_away();
        let Some(culprit) = culprit else {
            return self.end(ending, ctx);
        };
        let (host, shard, why) = (Arc::clone(&self.host), self.shard, ending.to_string());
        let count = async move { culprit.count(&host, shard, why, MOST_FAILURES).await };
        ctx.wait(count.into_actor(self).map(move |counted, actor, ctx| {
            match counted {
                // The next one comes as soon, and not more than a few times.
                Ok(_) => actor.counted = true,
                Err(error) => tracing::error!(shard = actor.shard.0, %error, "shard.failure.uncounted"),
            }
            actor.end(ending, ctx);
        }));
    }

    fn throw_away(&mut self) {
        self.machine = None;
        self.host.leave(self.shard, self.generation);
        self.host.wake_next(None);
    }

    fn end(&mut self, ending: Ending, ctx: &mut Context<Self>) {
        self.throw_away();
        self.ending.get_or_insert(ending);
        ctx.stop();
    }

    /// After turns: hands the staged batch to the journal, asks for jobs, sets the timer, opens or closes the gate.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        let Some(machine) = &mut self.machine else { return };
        let loads = machine.take_loads();
        let batch = machine.take();
        let (closed, wakeup) = (machine.is_congested() || !self.inbox.is_empty(), machine.next_wakeup());
        let observed = machine.observe();
        if let Some(holders) = machine.take_holders() {
            self.tell_holders(holders, ctx);
        }
        self.gate
            .send_if_modified(|open| std::mem::replace(open, !closed) == closed);
        for job in loads {
            self.activate(job, ctx);
        }
        if let Some(batch) = batch {
            self.commit(batch, ctx);
        }
        self.set_timer(wakeup, ctx);
        self.host.wake_next(Some(self.shard));
        self.host.tell_hunger();
        self.gauges.set(observed);
    }

    fn set_timer(&mut self, wakeup: Option<Timestamp>, ctx: &mut Context<Self>) {
        let Some(due) = wakeup else { return };
        if let Some((at, handle)) = self.timer {
            if at <= due {
                return;
            }
            ctx.cancel_future(handle);
        }
        // A clock that is behind by a fraction would strike too early and be set again.
        let wait = due.since(clock::now()) + Duration::from_millis(1);
        let handle = ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            if actor.turn(Input::Timer, None, ctx) {
                actor.flush(ctx);
            }
        });
        self.timer = Some((due, handle));
    }

    fn activate(&mut self, job: JobId, ctx: &mut Context<Self>) {
        let (host, shard) = (Arc::clone(&self.host), self.shard);
        let load = async move { host.log.load_job(shard, job).await };
        let taken_in = move |actor: &mut Self,
                             found: Result<Option<Job>, crate::log::Error>,
                             ctx: &mut Context<Self>| match found {
            Ok(found) => {
                let found = found.map(Box::new);
                if actor.turn(Input::Activated { job, found }, None, ctx) {
                    actor.work(ctx);
                }
            }
            // One job that cannot be read does not hold up the others.
            Err(crate::log::Error::UnreadableEvent { why, .. }) => {
                if actor.turn(Input::NotActivated { job, why }, None, ctx) {
                    actor.work(ctx);
                }
            }
            Err(error) => actor.end(Ending::Log(error.to_string()), ctx),
        };
        ctx.spawn(
            load.into_actor(self)
                .map(move |found, actor, ctx| taken_in(actor, found, ctx)),
        );
    }

    fn commit(&mut self, batch: Batch, ctx: &mut Context<Self>) {
        let Batch {
            shard,
            epoch,
            first_seq,
            events,
            cursor,
            closed_before,
            round,
            snapshots,
        } = batch;
        self.published = self
            .host
            .followers
            .published(shard)
            .unwrap_or(self.published)
            .max(self.published);
        self.traces.committing(&events);
        let records: Arc<[crate::event::EventRecord]> = events.into();
        let batch = ShardBatch {
            shard,
            epoch,
            first_seq,
            events: Arc::clone(&records),
            cursor: cursor.clone(),
            published: self.published,
            closed_before,
        };
        let commit = self.host.journal.commit(batch);
        ctx.spawn(commit.into_actor(self).map(move |outcome, actor, ctx| match outcome {
            CommitOutcome::Committed(committed) => {
                actor.traces.committed();
                actor.host.bus.trim(Topic::Commands, shard.0, cursor.commands);
                actor.host.bus.trim(Topic::Reports, shard.0, cursor.reports);
                if !records.is_empty() {
                    let payloads = committed.payloads;
                    actor.host.followers.committed(Committed {
                        shard,
                        epoch,
                        first_seq,
                        records,
                        payloads,
                    });
                }
                if round {
                    actor.write_snapshots(committed.last_seq, snapshots, ctx);
                }
                actor.release(ctx);
            }
            CommitOutcome::Fenced => actor.end(Ending::Fenced, ctx),
            CommitOutcome::Refused(why) => actor.refused(why, ctx),
            CommitOutcome::Unknown(why) => actor.end(Ending::Unknown(why), ctx),
        }));
    }

    /// The commit has succeeded: what waited for it leaves.
    fn release(&mut self, ctx: &mut Context<Self>) {
        let Some(machine) = &mut self.machine else { return };
        let now = clock::now();
        let turned = catch_unwind(AssertUnwindSafe(|| machine.committed(now, &mut self.host.credits())));
        match turned {
            Ok(Ok(mut outputs)) => {
                let _assigning = self.traces.assigning(&mut outputs);
                outbox::send(&self.host, self.shard, machine.epoch(), outputs);
                self.suspect = None;
                self.work(ctx);
            }
            Ok(Err(poisoned)) => self.poisoned(poisoned.to_string(), None, ctx),
            Err(panic) => self.poisoned(panic_text(panic.as_ref()), None, ctx),
        }
    }

    /// The log would refuse the batch again. The shard is loaded anew and takes its messages one a commit, until it is
    /// known which of them is to blame.
    fn refused(&mut self, why: String, ctx: &mut Context<Self>) {
        metrics::counter!("grid_shard_refused_commits_total").increment(1);
        let taken = self.machine.as_ref().map(Shard::taken).unwrap_or_default();
        tracing::error!(
            shard = self.shard.0,
            why,
            known = self.suspect.is_some(),
            "shard.commit.refused"
        );
        let suspect = self.suspect.take();
        self.end_counting(suspect, Ending::Refused { why, taken }, ctx);
    }

    /// Takes what waits in the inbox, and flushes.
    fn work(&mut self, ctx: &mut Context<Self>) {
        while let Some((source, record)) = self.next_record() {
            let is_suspect = self.careful.covers(source, record.offset);
            if !self.take_in(source, record, is_suspect, ctx) {
                return;
            }
            if is_suspect {
                self.flush(ctx);
                if self.is_idle() {
                    self.suspect = None;
                }
            }
        }
        self.flush(ctx);
    }

    fn next_record(&mut self) -> Option<(QuarantineSource, Record)> {
        let (source, record) = self.inbox.front()?;
        if self.careful.covers(*source, record.offset) && !self.is_idle() {
            return None;
        }
        self.inbox.pop_front()
    }

    /// Everything taken so far has had its effect.
    fn is_idle(&self) -> bool {
        let idle = |machine: &Shard| machine.is_settled() && !machine.is_loading();
        self.machine.as_ref().is_some_and(idle)
    }

    /// False: no further record for now.
    fn take_in(&mut self, source: QuarantineSource, record: Record, is_suspect: bool, ctx: &mut Context<Self>) -> bool {
        let message = Culprit {
            source,
            offset: record.offset,
            payload: record.message.payload,
        };
        self.suspect = is_suspect.then(|| message.clone());
        if self.quarantined.contains(&(source, message.offset)) {
            tracing::warn!(
                shard = self.shard.0,
                offset = message.offset,
                "shard.message.quarantined"
            );
            return self.turn(message.passed(REFUSED), None, ctx);
        }
        match message.read(&self.host, self.shard) {
            Ok(input) => self.turn(input, Some(message), ctx),
            Err(unreadable) => {
                self.set_aside(message, unreadable, ctx);
                false
            }
        }
    }

    /// A message that cannot be read never can: it goes to the quarantine at once, and then the cursor may pass it.
    fn set_aside(&mut self, message: Culprit, unreadable: Unreadable, ctx: &mut Context<Self>) {
        tracing::error!(shard = self.shard.0, offset = message.offset, why = %unreadable, "shard.message.unreadable");
        let (host, shard, reason) = (Arc::clone(&self.host), self.shard, unreadable.to_string());
        let passed = message.passed(&poison::unreadable(&unreadable));
        let set_aside = async move {
            // What a newer program has written is no poison: this one has been left behind, and must pass over nothing.
            host.log.refuse_outgrown().await?;
            message.count(&host, shard, reason, 1).await
        };
        ctx.wait(
            set_aside
                .into_actor(self)
                .map(move |counted, actor, ctx| match counted {
                    Ok(_) => {
                        if actor.turn(passed, None, ctx) {
                            actor.work(ctx);
                        }
                    }
                    Err(error) => actor.end(Ending::Log(error.to_string()), ctx),
                }),
        );
    }

    /// Whoever wants days closed, and finds them open, asks again.
    fn tell_holders(&self, holders: Holders, ctx: &mut Context<Self>) {
        let (host, shard) = (Arc::clone(&self.host), self.shard);
        let tell = async move { host.log.tell_holders(shard, holders).await };
        ctx.spawn(tell.into_actor(self).map(|told, actor, _| {
            if let Err(error) = told {
                tracing::warn!(shard = actor.shard.0, %error, "shard.holders.untold");
            }
        }));
    }

    /// Snapshots are written beside the commits; until they are, a load has the longer tail to read.
    fn write_snapshots(&mut self, upto: Seq, snapshots: Vec<JobSnapshot>, ctx: &mut Context<Self>) {
        let Some(epoch) = self.machine.as_ref().map(Shard::epoch) else {
            return;
        };
        let (host, shard) = (Arc::clone(&self.host), self.shard);
        let jobs: Vec<JobId> = snapshots.iter().map(|it| it.job).collect();
        let write = async move {
            let rows = snapshots
                .into_iter()
                .map(|it| crate::log::SnapshotRow {
                    job: it.job,
                    seq: upto,
                    at_rest: it.at_rest,
                    bytes: it.bytes,
                })
                .collect();
            host.log.write_snapshots(shard, epoch, upto, rows).await
        };
        ctx.spawn(write.into_actor(self).map(|written, actor, ctx| {
            let Some(machine) = &mut actor.machine else { return };
            match written {
                Ok(()) => machine.snapshots_written(),
                Err(error) => {
                    tracing::warn!(shard = actor.shard.0, %error, "shard.snapshots.unwritten");
                    machine.snapshots_unwritten(jobs);
                }
            }
            actor.flush(ctx);
        }));
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(64);
        let address = ctx.address();
        self.host.enter(
            self.shard,
            Address {
                generation: self.generation,
                wake: address.clone().recipient(),
                gone: address.clone().recipient(),
                close: address.recipient(),
            },
        );
        for gone in std::mem::take(&mut self.dead) {
            if !self.turn(Input::WorkerGone(gone), None, ctx) {
                return;
            }
        }
        // What is wished from now on comes as a message.
        let close_before = self.host.close_before();
        let closed = self.machine.as_ref().map_or(close_before, Shard::closed_before);
        if closed < close_before && !self.turn(Input::CloseDays(close_before), None, ctx) {
            return;
        }
        if self.turn(Input::Wake, None, ctx) {
            self.flush(ctx);
        }
        ctx.run_interval(CURSOR_EVERY, |actor, ctx| {
            if let Some(machine) = &mut actor.machine {
                machine.write_cursor();
                actor.flush(ctx);
            }
        });
    }
}

impl Drop for ShardActor {
    /// Tells the supervisor however it ends: also when a panic took the actor down.
    fn drop(&mut self) {
        self.throw_away();
        let ending = self
            .ending
            .take()
            .unwrap_or_else(|| Ending::Poisoned("the actor panicked".into()));
        let ended = Ended {
            shard: self.shard,
            generation: self.generation,
            ending,
            counted: self.counted,
        };
        let supervisor = self.supervisor.clone();
        if supervisor.try_send(ended.clone()).is_err() {
            // Its mailbox is full: wait for room.
            crate::task::spawn("shard_ended", async move { _ = supervisor.send(ended).await });
        }
    }
}

impl Handler<Arrived> for ShardActor {
    type Result = ();
    fn handle(&mut self, arrived: Arrived, ctx: &mut Context<Self>) {
        let source = arrived.source;
        self.inbox
            .extend(arrived.records.into_iter().map(|record| (source, record)));
        self.work(ctx);
    }
}

impl Handler<Wake> for ShardActor {
    type Result = ();
    fn handle(&mut self, _: Wake, ctx: &mut Context<Self>) {
        if self.turn(Input::Wake, None, ctx) {
            self.flush(ctx);
        }
    }
}

impl Handler<Gone> for ShardActor {
    type Result = ();
    fn handle(&mut self, Gone(gone): Gone, ctx: &mut Context<Self>) {
        if self.turn(Input::WorkerGone(gone), None, ctx) {
            self.flush(ctx);
        }
    }
}

impl Handler<CloseDays> for ShardActor {
    type Result = ();
    fn handle(&mut self, CloseDays(before): CloseDays, ctx: &mut Context<Self>) {
        if self.turn(Input::CloseDays(before), None, ctx) {
            self.flush(ctx);
        }
    }
}

impl Handler<Close> for ShardActor {
    type Result = ();
    fn handle(&mut self, _: Close, ctx: &mut Context<Self>) {
        self.end(Ending::Closed, ctx);
    }
}

impl Handler<ReaderFailed> for ShardActor {
    type Result = ();
    fn handle(&mut self, ReaderFailed(why): ReaderFailed, ctx: &mut Context<Self>) {
        self.end(Ending::Bus(why), ctx);
    }
}
