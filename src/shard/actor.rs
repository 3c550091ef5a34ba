//! The actix shell around a shard: messages in, commits through the journal, outputs onto the bus.
//!
//! It decides nothing. Whatever goes wrong ends the actor, and with it the shard's memory; the supervisor makes a new
//! one, which claims and loads anew.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;

use super::host::{Address, Committed, Host};
use super::machine::{Input, Shard, WorkerGone};
use super::staging::{Batch, JobSnapshot, Output};
use super::supervisor::{Ended, Ending};
use crate::bus::{Message as BusMessage, Record, Topic};
use crate::clock;
use crate::domain::{Incarnation, Job, JobId, Seq, ShardId, Timestamp, WorkerName};
use crate::event::{
    AssignmentItem, AssignmentMessage, CommandMessage, Reply, ReportMessage, Unreadable, Version, Wire,
};
use crate::log::{CommitOutcome, QuarantineSource, ShardBatch};

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

/// How often a message may fail before it is passed over.
const MOST_FAILURES: u32 = 3;
/// How often the cursor is written when nothing else is committed.
const CURSOR_EVERY: Duration = Duration::from_secs(300);

/// A message that a turn is about, for the quarantine.
struct Culprit {
    source: QuarantineSource,
    offset: i64,
    payload: bytes::Bytes,
}

/// What the supervisor has prepared.
pub(super) struct Opened {
    pub shard: ShardId,
    pub generation: u64,
    pub machine: Shard,
    pub published: Seq,
    pub closed_before: i32,
    pub dead: Vec<WorkerGone>,
    /// Offsets that are passed over.
    pub quarantined: Vec<(QuarantineSource, i64)>,
    pub gate: watch::Sender<bool>,
}

pub(super) struct ShardActor {
    host: Arc<Host>,
    supervisor: Recipient<Ended>,
    shard: ShardId,
    generation: u64,
    machine: Option<Shard>,
    closed_before: i32,
    quarantined: Vec<(QuarantineSource, i64)>,
    dead: Vec<WorkerGone>,
    /// Closed while the shard can take no more.
    gate: watch::Sender<bool>,
    timer: Option<(Timestamp, SpawnHandle)>,
    ending: Option<Ending>,
    published: Seq,
}

impl ShardActor {
    pub fn new(host: Arc<Host>, supervisor: Recipient<Ended>, opened: Opened) -> Self {
        Self {
            host,
            supervisor,
            shard: opened.shard,
            generation: opened.generation,
            machine: Some(opened.machine),
            closed_before: opened.closed_before,
            quarantined: opened.quarantined,
            dead: opened.dead,
            gate: opened.gate,
            timer: None,
            ending: None,
            published: opened.published,
        }
    }

    /// One turn. A turn that fails ends the actor; `culprit` is then counted against.
    fn turn(&mut self, input: Input, culprit: Option<Culprit>, ctx: &mut Context<Self>) -> bool {
        let Some(machine) = &mut self.machine else { return false };
        let turned = catch_unwind(AssertUnwindSafe(|| {
            machine.handle(input, clock::now(), &mut self.host.credits())
        }));
        let why = match turned {
            Ok(Ok(())) => return true,
            Ok(Err(poisoned)) => poisoned.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        self.poisoned(why, culprit, ctx);
        false
    }

    fn poisoned(&mut self, why: String, culprit: Option<Culprit>, ctx: &mut Context<Self>) {
        tracing::error!(shard = self.shard.0, why, "shard.turn.failed");
        metrics::counter!("grid_shard_turn_failures_total").increment(1);
        self.throw_away();
        let Some(culprit) = culprit else {
            return self.end(Ending::Poisoned(why), ctx);
        };
        let (host, shard) = (Arc::clone(&self.host), self.shard);
        let ending = Ending::Poisoned(why.clone());
        let count = async move {
            let bus = host.bus.identity().to_owned();
            let poison = crate::log::Poison {
                shard,
                source: culprit.source,
                bus,
                place: culprit.offset,
                reason: why,
                payload: culprit.payload.to_vec(),
                principal: String::new(),
            };
            if let Err(error) = host.log.note_failure(poison, MOST_FAILURES).await {
                tracing::error!(shard = shard.0, %error, "shard.poison.uncounted");
            }
        };
        ctx.wait(count.into_actor(self).map(move |(), actor, ctx| actor.end(ending, ctx)));
    }

    fn throw_away(&mut self) {
        self.machine = None;
        self.host.leave(self.shard);
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
        let (congested, wakeup) = (machine.is_congested(), machine.next_wakeup());
        let observed = machine.observe();
        self.gate
            .send_if_modified(|open| std::mem::replace(open, !congested) == congested);
        for job in loads {
            self.activate(job, ctx);
        }
        if let Some(batch) = batch {
            self.commit(batch, ctx);
        }
        self.set_timer(wakeup, ctx);
        self.host.wake_next(Some(self.shard));
        self.host.tell_hunger();
        let label = self.shard.0.to_string();
        metrics::gauge!("grid_shard_staged_events", "shard" => label.clone()).set(observed.staged_events as f64);
        metrics::gauge!("grid_shard_jobs", "shard" => label).set(observed.jobs as f64);
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
                    actor.flush(ctx);
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
            snapshots,
        } = batch;
        self.published = self
            .host
            .followers
            .published(shard)
            .unwrap_or(self.published)
            .max(self.published);
        let records: Arc<[crate::event::EventRecord]> = events.into();
        let batch = ShardBatch {
            shard,
            epoch,
            first_seq,
            events: Arc::clone(&records),
            cursor: cursor.clone(),
            published: self.published,
            closed_before: self.closed_before,
        };
        let commit = self.host.journal.commit(batch);
        ctx.spawn(commit.into_actor(self).map(move |outcome, actor, ctx| match outcome {
            CommitOutcome::Committed(committed) => {
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
                actor.write_snapshots(committed.last_seq, snapshots, ctx);
                actor.release(ctx);
            }
            CommitOutcome::Fenced => actor.end(Ending::Fenced, ctx),
            CommitOutcome::Refused(why) => actor.end(Ending::Refused(why), ctx),
            CommitOutcome::Unknown(why) => actor.end(Ending::Unknown(why), ctx),
        }));
    }

    /// The commit has succeeded: what waited for it leaves.
    fn release(&mut self, ctx: &mut Context<Self>) {
        let Some(machine) = &mut self.machine else { return };
        let now = clock::now();
        let turned = catch_unwind(AssertUnwindSafe(|| machine.committed(now, &mut self.host.credits())));
        match turned {
            Ok(Ok(outputs)) => {
                self.send(outputs);
                self.flush(ctx);
            }
            Ok(Err(poisoned)) => self.poisoned(poisoned.to_string(), None, ctx),
            Err(panic) => self.poisoned(panic_text(panic.as_ref()), None, ctx),
        }
    }

    fn send(&self, outputs: Vec<Output>) {
        let Some(machine) = &self.machine else { return };
        let (host, epoch) = (&self.host, machine.epoch());
        let mut messages: BTreeMap<Incarnation, (WorkerName, Vec<AssignmentItem>)> = BTreeMap::new();
        let mut add = |worker: WorkerName, incarnation, item| {
            let (_, items) = messages.entry(incarnation).or_insert_with(|| (worker, Vec::new()));
            match (items.last_mut(), item) {
                // Acknowledgements that follow each other become one.
                (Some(AssignmentItem::Ack { kind: last, attempts }), AssignmentItem::Ack { kind, attempts: more })
                    if *last == kind =>
                {
                    attempts.extend(more)
                }
                (_, item) => items.push(item),
            }
        };
        for output in outputs {
            match output {
                Output::Reply { to, result } => {
                    let reply = Reply {
                        v: Version,
                        node: to.node,
                        correlation: to.correlation,
                        result,
                    };
                    host.bus
                        .post(Topic::Replies, to.partition, BusMessage::new(reply.encode()));
                }
                Output::Assign {
                    worker,
                    incarnation,
                    assignment,
                } => {
                    add(worker, incarnation, AssignmentItem::Assign { assignment });
                }
                Output::Cancel {
                    worker,
                    incarnation,
                    attempt,
                } => {
                    add(worker, incarnation, AssignmentItem::Cancel { attempt });
                }
                Output::Stop {
                    worker,
                    incarnation,
                    attempt,
                } => {
                    add(worker, incarnation, AssignmentItem::Stop { attempt });
                }
                Output::Ack {
                    worker,
                    incarnation,
                    kind,
                    attempt,
                } => {
                    add(
                        worker,
                        incarnation,
                        AssignmentItem::Ack {
                            kind,
                            attempts: vec![attempt],
                        },
                    );
                }
            }
        }
        let partitions = host.bus.partitions().of(Topic::Assignments);
        for (incarnation, (worker, items)) in messages {
            let message = AssignmentMessage {
                v: Version,
                timeline: host.timeline,
                shard: self.shard,
                epoch,
                jobmaster: host.jobmaster,
                incarnation,
                items,
            };
            let partition = worker.slot(partitions);
            // What is lost here is sent again after the worker's next inventory, or asked for again by its reports.
            host.bus
                .post(Topic::Assignments, partition, BusMessage::new(message.encode()));
        }
    }

    /// Snapshots are written beside the commits; until they are, a load has the longer tail to read.
    fn write_snapshots(&mut self, upto: Seq, snapshots: Vec<JobSnapshot>, ctx: &mut Context<Self>) {
        if snapshots.is_empty() {
            return;
        }
        let Some(epoch) = self.machine.as_ref().map(Shard::epoch) else {
            return;
        };
        let (host, shard) = (Arc::clone(&self.host), self.shard);
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
        ctx.spawn(
            write
                .into_actor(self)
                .map(|written, actor, _| match (written, &mut actor.machine) {
                    (Ok(_), Some(machine)) => machine.snapshots_written(),
                    (Ok(_), None) => {}
                    (Err(error), _) => tracing::warn!(shard = actor.shard.0, %error, "shard.snapshots.unwritten"),
                }),
        );
    }

    fn take_in(&mut self, source: QuarantineSource, record: Record, ctx: &mut Context<Self>) -> bool {
        let Record { offset, message, .. } = record;
        let passed = |source| match source {
            QuarantineSource::Report => Input::PassReport { offset },
            QuarantineSource::Command | QuarantineSource::Event => Input::PassCommand { offset },
        };
        if self.quarantined.contains(&(source, offset)) {
            tracing::warn!(shard = self.shard.0, offset, "shard.message.quarantined");
            return self.turn(passed(source), None, ctx);
        }
        let payload = message.payload;
        let input = match source {
            QuarantineSource::Report => {
                ReportMessage::decode(&payload).map(|message| Input::Report { offset, message })
            }
            QuarantineSource::Command | QuarantineSource::Event => {
                CommandMessage::decode(&payload).map(|message| Input::Command { offset, message })
            }
        };
        match input {
            Ok(input) => self.turn(
                input,
                Some(Culprit {
                    source,
                    offset,
                    payload,
                }),
                ctx,
            ),
            Err(unreadable) => {
                self.set_aside(source, offset, payload, &unreadable, ctx);
                self.turn(passed(source), None, ctx)
            }
        }
    }

    /// A message that cannot be read never can: it goes to the quarantine at once.
    fn set_aside(
        &self,
        source: QuarantineSource,
        offset: i64,
        payload: bytes::Bytes,
        unreadable: &Unreadable,
        ctx: &mut Context<Self>,
    ) {
        tracing::error!(shard = self.shard.0, offset, why = %unreadable, "shard.message.unreadable");
        let (host, shard, reason) = (Arc::clone(&self.host), self.shard, unreadable.to_string());
        let quarantine = async move {
            let poison = crate::log::Poison {
                shard,
                source,
                bus: host.bus.identity().to_owned(),
                place: offset,
                reason,
                payload: payload.to_vec(),
                principal: String::new(),
            };
            if let Err(error) = host.log.note_failure(poison, 1).await {
                tracing::error!(shard = shard.0, %error, "shard.quarantine.unwritten");
            }
        };
        ctx.spawn(quarantine.into_actor(self));
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
                wake: address.clone().recipient(),
                gone: address.recipient(),
            },
        );
        for gone in std::mem::take(&mut self.dead) {
            if !self.turn(Input::WorkerGone(gone), None, ctx) {
                return;
            }
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
        for record in arrived.records {
            if !self.take_in(arrived.source, record, ctx) {
                return;
            }
        }
        self.flush(ctx);
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".into())
}
