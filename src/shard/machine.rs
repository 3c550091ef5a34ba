//! The shard as a synchronous machine: (input, now) → staged events and outputs.
//!
//! Must stay true: events are applied to memory and staged in one step, in order, each with its version; outputs are
//! handed out only by [`Shard::committed`]; the cursor of a batch never passes a message whose effect is not in that
//! batch or an earlier one; a machine that has failed is thrown away whole and loaded anew.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::closing::Closing;
use super::credits::CreditPool;
use super::ready::ReadyRing;
use super::staging::{Batch, JobSnapshot, Output, Staged};
use super::timers::{Timer, Timers};
use crate::domain::event::WorkerEnd;
use crate::domain::{
    Epoch, IllegalTransition, Incarnation, Job, JobId, LossCause, Position, Refusal, Seq, ShardId, Timestamp,
    WorkerHistory, WorkerName,
};
use crate::event::{CommandMessage, Meta, ReplyAddress, ReportMessage};
use crate::log::{Cursor, Format};

/// What does not change while a shard is owned.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    pub shard: ShardId,
    /// Of how many.
    pub shards: u16,
    pub timeline: Uuid,
    /// The process that owns it.
    pub jobmaster: Incarnation,
    /// About how many events of a fan-out go into one commit.
    pub chunk_events: usize,
    /// Staged events at which no further message is taken.
    pub most_staged: usize,
    /// Commands that may wait for their job to be loaded.
    pub most_parked: usize,
    /// Events after which the changed jobs are written as snapshots.
    pub snapshot_events: usize,
    pub seed: u64,
}

/// What a claim and a load gave.
#[derive(Debug)]
pub struct Loaded {
    pub epoch: Epoch,
    pub next_seq: Seq,
    /// Time of the last event.
    pub last_at: Timestamp,
    pub cursor: Cursor,
    /// Those that are not at rest, and those that were changed since the last snapshot round.
    pub jobs: Vec<Job>,
    /// Jobs changed since the last snapshot round: the next round must write them.
    pub changed: Vec<JobId>,
    /// Ids of yesterday to tomorrow that are at rest.
    pub finished: Vec<JobId>,
    /// Workers whose history lives here, with the version of their present process' stream.
    pub workers: Vec<(WorkerName, WorkerHistory, u32)>,
    /// Events since the last snapshot round.
    pub tail_events: usize,
    /// The log's.
    pub format: Format,
    /// The days before this one (since 1970) are closed.
    pub closed_before: i32,
}

/// A worker process that is known to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerGone {
    pub incarnation: Incarnation,
    pub cause: LossCause,
    pub end: WorkerEnd,
}

/// One message.
#[derive(Debug)]
pub enum Input {
    Command {
        offset: i64,
        message: CommandMessage,
    },
    Report {
        offset: i64,
        message: ReportMessage,
    },
    /// A command that cannot be read or decided; whoever waits for its answer is told.
    PassCommand {
        offset: i64,
        answer: Option<(ReplyAddress, Refusal)>,
    },
    PassReport {
        offset: i64,
    },
    /// A job that was put away, as asked for by [`Shard::take_loads`]; `None`: there is none.
    Activated {
        job: JobId,
        found: Option<Box<Job>>,
    },
    /// Likewise: its history cannot be read.
    NotActivated {
        job: JobId,
        why: String,
    },
    WorkerGone(WorkerGone),
    /// The days before this one (since 1970) shall be closed.
    CloseDays(i32),
    /// Credits may be there.
    Wake,
    /// Time has passed.
    Timer,
}

/// Up to where messages were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub commands: i64,
    pub reports: i64,
}

/// A turn that could not be completed: the machine must be thrown away.
#[derive(Debug, thiserror::Error)]
#[error("a decision was not legal: {0}")]
pub struct Poisoned(#[from] pub IllegalTransition);

pub(super) struct HomeWorker {
    pub history: WorkerHistory,
    pub version: u32,
}

/// A shard in memory.
pub struct Shard {
    pub(super) options: ShardOptions,
    pub(super) epoch: Epoch,
    pub(super) next_seq: Seq,
    pub(super) last_at: Timestamp,
    pub(super) cursor: Cursor,
    pub(super) jobs: HashMap<JobId, Job>,
    pub(super) finished: HashSet<JobId>,
    pub(super) workers: BTreeMap<WorkerName, HomeWorker>,
    pub(super) timers: Timers,
    pub(super) ready: ReadyRing,
    pub(super) fan_outs: VecDeque<JobId>,
    /// Commands that wait for their job, by offset.
    pub(super) parked: BTreeMap<i64, Arc<CommandMessage>>,
    /// The last parked one that was decided in the turn under way.
    pub(super) unparked: Option<(i64, Arc<CommandMessage>)>,
    pub(super) loading: BTreeMap<JobId, Vec<i64>>,
    pub(super) loads: Vec<JobId>,
    pub(super) staged: Staged,
    pub(super) system: Arc<str>,
    pub(super) dirty: HashSet<JobId>,
    pub(super) rng: StdRng,
    pub(super) today: i32,
    /// Of what is written.
    pub(super) format: Format,
    pub(super) closing: Closing,
    in_flight: Option<InFlight>,
    committed_cursor: Cursor,
    tail_events: usize,
    put_away: HashMap<JobId, Seq>,
    /// Snapshots are being written. One round at a time: each moves the place from which a load reads the tail.
    round_under_way: bool,
}

struct InFlight {
    outputs: Vec<Output>,
    cursor: Cursor,
    at_rest: Vec<JobId>,
}

impl Shard {
    /// The shard as loaded; what its state implies for workers is staged at once.
    pub fn load(options: ShardOptions, loaded: Loaded) -> Self {
        let closing = Closing::since(loaded.closed_before);
        let mut shard = Self {
            epoch: loaded.epoch,
            next_seq: loaded.next_seq,
            last_at: loaded.last_at.max(closing.not_before()),
            committed_cursor: loaded.cursor.clone(),
            cursor: loaded.cursor,
            jobs: HashMap::with_capacity(loaded.jobs.len()),
            finished: loaded.finished.into_iter().collect(),
            workers: loaded
                .workers
                .into_iter()
                .map(|(name, history, version)| (name, HomeWorker { history, version }))
                .collect(),
            timers: Timers::default(),
            ready: ReadyRing::default(),
            fan_outs: VecDeque::new(),
            parked: BTreeMap::new(),
            unparked: None,
            loading: BTreeMap::new(),
            loads: Vec::new(),
            staged: Staged::default(),
            system: Arc::from("system"),
            dirty: loaded.changed.into_iter().collect(),
            rng: StdRng::seed_from_u64(options.seed),
            today: 0,
            format: loaded.format,
            closing,
            in_flight: None,
            tail_events: loaded.tail_events,
            put_away: HashMap::new(),
            round_under_way: false,
            options,
        };
        for job in loaded.jobs {
            shard.host(job);
        }
        shard.tell_standings();
        shard
    }

    /// The log's format was raised: what came with it may be written from now on.
    pub fn write_as(&mut self, format: Format) {
        self.format = self.format.max(format);
    }

    /// Takes one message; the credits are those of the process.
    pub fn handle(&mut self, input: Input, now: Timestamp, credits: &mut CreditPool) -> Result<(), Poisoned> {
        match input {
            Input::Command { offset, message } => {
                self.cursor.commands = self.cursor.commands.max(offset + 1);
                self.on_command(offset, message, now)?;
            }
            Input::Report { offset, message } => {
                self.cursor.reports = self.cursor.reports.max(offset + 1);
                // Attempts of another timeline bear the same numbers as attempts of this one, and are none of them.
                if message
                    .timeline
                    .is_some_and(|timeline| timeline != self.options.timeline)
                {
                    return Ok(());
                }
                for grant in &message.grants {
                    if grant.jobmaster == self.options.jobmaster {
                        credits.grant(message.incarnation, grant.granted);
                    }
                }
                self.on_report(message, now)?;
            }
            Input::PassCommand { offset, answer } => {
                self.cursor.commands = self.cursor.commands.max(offset + 1);
                if let Some((to, refusal)) = answer {
                    let result = Err(refusal);
                    self.staged.outputs.push(Output::Reply { to, result });
                }
            }
            Input::PassReport { offset } => self.cursor.reports = self.cursor.reports.max(offset + 1),
            Input::Activated { job, found } => self.on_activated(job, found, now)?,
            Input::NotActivated { job, why } => self.on_not_activated(job, &why),
            Input::WorkerGone(gone) => self.on_worker_gone(gone, now)?,
            Input::CloseDays(before) => self.on_close_days(before),
            Input::Wake => {}
            Input::Timer => self.on_timer(now)?,
        }
        self.pump(now, credits)?;
        self.close_days();
        self.unparked = None;
        Ok(())
    }

    /// After a failed turn: the command that had waited for its job and was decided in that turn.
    pub fn failed_command(&self) -> Option<(i64, &CommandMessage)> {
        self.unparked.as_ref().map(|(offset, message)| (*offset, &**message))
    }

    /// What is staged, for the journal; nothing while a batch is on its way. Call again after [`Shard::committed`].
    pub fn take(&mut self) -> Option<Batch> {
        if self.in_flight.is_some() || self.staged.is_empty() {
            return None;
        }
        let events = std::mem::take(&mut self.staged.events);
        let outputs = std::mem::take(&mut self.staged.outputs);
        self.staged.cursor_only = false;
        let first_seq = Seq(self.next_seq.0 - events.len() as u64);
        self.tail_events += events.len();
        let cursor = self.safe_cursor();
        let round = !self.round_under_way && (std::mem::take(&mut self.closing.round) || self.snapshot_is_due());
        self.round_under_way |= round;
        let snapshots = if round { self.snapshots() } else { Vec::new() };
        let at_rest = snapshots.iter().filter(|it| it.at_rest).map(|it| it.job).collect();
        self.in_flight = Some(InFlight {
            outputs,
            cursor: cursor.clone(),
            at_rest,
        });
        Some(Batch {
            shard: self.options.shard,
            epoch: self.epoch,
            first_seq,
            events,
            cursor,
            closed_before: self.closed_before(),
            round,
            snapshots,
        })
    }

    /// The batch is in the log: what waited for it may leave.
    pub fn committed(&mut self, now: Timestamp, credits: &mut CreditPool) -> Result<Vec<Output>, Poisoned> {
        let Some(in_flight) = self.in_flight.take() else {
            return Ok(Vec::new());
        };
        self.committed_cursor = in_flight.cursor;
        for job in in_flight.at_rest {
            self.put_away.insert(job, self.next_seq);
        }
        self.pump(now, credits)?;
        self.close_days();
        Ok(in_flight.outputs)
    }

    /// The snapshots of the last round are written: finished jobs that have not changed since leave the memory.
    pub fn snapshots_written(&mut self) {
        self.round_ended();
        for (job, _) in std::mem::take(&mut self.put_away) {
            if !self.dirty.contains(&job) && self.jobs.get(&job).is_some_and(Job::is_at_rest) {
                self.jobs.remove(&job);
            }
        }
    }

    /// The snapshots of the last round could not be written: the next one has these jobs as well, since it moves the place
    /// from which on a load reads the tail.
    pub fn snapshots_unwritten(&mut self, jobs: Vec<JobId>) {
        self.round_ended();
        for job in jobs {
            self.put_away.remove(&job);
            if self.jobs.contains_key(&job) {
                self.dirty.insert(job);
            }
        }
    }

    /// The next round may begin; one that was wished for, or came due, meanwhile does.
    fn round_ended(&mut self) {
        self.round_under_way = false;
        self.staged.cursor_only |= self.closing.round || self.snapshot_is_due();
    }

    /// Jobs to be read from the log and given back as [`Input::Activated`].
    pub fn take_loads(&mut self) -> Vec<JobId> {
        std::mem::take(&mut self.loads)
    }

    /// When [`Input::Timer`] is wanted.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        // A full stage makes room by its commit, not by time.
        if self.is_congested() {
            None
        } else {
            self.timers.next_due()
        }
    }

    /// Whether the shell should hold further messages back.
    pub fn is_congested(&self) -> bool {
        self.staged.events.len() >= self.options.most_staged || self.parked.len() >= self.options.most_parked
    }

    /// Whether messages were taken that no commit has covered yet (they had no effect).
    pub fn cursor_is_behind(&self) -> bool {
        self.safe_cursor() != self.committed_cursor
    }

    /// Makes the next [`Shard::take`] give a batch even without events or outputs, so that the cursor is written.
    pub fn write_cursor(&mut self) {
        self.staged.cursor_only |= self.cursor_is_behind();
    }

    /// The place of the last event, staged ones included.
    pub fn position(&self) -> Position {
        Position {
            shard: self.options.shard,
            seq: Seq(self.next_seq.0 - 1),
        }
    }

    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }

    /// Whether memory is exactly what is in the log.
    pub fn is_settled(&self) -> bool {
        self.staged.is_empty() && self.in_flight.is_none()
    }

    /// Whether commands wait for their job to be loaded.
    pub fn is_loading(&self) -> bool {
        !self.parked.is_empty()
    }

    /// The next offsets of commands and reports, whether what came before has had its effect or not.
    pub const fn taken(&self) -> Taken {
        Taken {
            commands: self.cursor.commands,
            reports: self.cursor.reports,
        }
    }

    /// What can be observed of it.
    pub fn observe(&self) -> Observed {
        Observed {
            jobs: self.jobs.len(),
            timers: self.timers.len(),
            ready_jobs: self.ready.len(),
            parked: self.parked.len(),
            staged_events: self.staged.events.len(),
            in_flight: self.in_flight.is_some(),
        }
    }

    /// Workers' processes that have attempts here.
    pub fn incarnations(&self) -> HashSet<Incarnation> {
        let of_job = |job: &Job| {
            let workers: Vec<_> = job
                .active()
                .filter_map(|number| Some(job.worker_of(number)?.1))
                .collect();
            workers
        };
        self.jobs
            .values()
            .filter(|job| job.active_count() > 0)
            .flat_map(of_job)
            .collect()
    }

    pub(super) fn meta(&self, principal: &Arc<str>, command: Option<&CommandMessage>, now: Timestamp) -> Meta {
        Meta {
            at: now.max(self.last_at),
            principal: Arc::clone(principal),
            command: command.map(|message| message.id),
            causation: command.map(|message| message.id),
            traceparent: command.and_then(|message| message.traceparent.clone()),
        }
    }

    pub(super) fn jitter(&mut self) -> f64 {
        self.rng.random()
    }

    /// Up to where every message has had its effect: before the oldest parked one.
    fn safe_cursor(&self) -> Cursor {
        let oldest = self.parked.keys().next().copied();
        let mut commands = oldest.map_or(self.cursor.commands, |oldest| oldest.min(self.cursor.commands));
        if mutant!(CursorAhead) {
            commands += 1;
        }
        Cursor {
            bus: Arc::clone(&self.cursor.bus),
            commands,
            reports: self.cursor.reports,
        }
    }

    /// A round costs time in proportion to the tasks of the changed jobs, so it waits for as many events.
    fn snapshot_is_due(&self) -> bool {
        if self.tail_events < self.options.snapshot_events.max(1) {
            return false;
        }
        let tasks: usize = self
            .dirty
            .iter()
            .filter_map(|job| self.jobs.get(job))
            .map(|it| it.written() as usize)
            .sum();
        self.tail_events >= tasks / 2
    }

    fn snapshots(&mut self) -> Vec<JobSnapshot> {
        self.tail_events = 0;
        let dirty = std::mem::take(&mut self.dirty);
        let snapshot = |id| {
            let job: &Job = self.jobs.get(&id)?;
            Some(JobSnapshot {
                job: id,
                at_rest: job.is_at_rest(),
                bytes: job.to_snapshot(),
            })
        };
        dirty.into_iter().filter_map(snapshot).collect()
    }

    /// Takes a job into memory, with its timers, queues, and what must be sent again for it.
    pub(super) fn host(&mut self, job: Job) {
        let id = job.id();
        if let Some((due, version)) = job.deadline().filter(|_| job.finished().is_none()) {
            self.timers.set(Timer {
                due,
                job: id,
                task: 0,
                version,
            });
        }
        for number in 1..=job.written() {
            if let Some((due, version)) = job.task(number).and_then(|record| record.timer())
                && !mutant!(LostTimers)
            {
                self.timers.set(Timer {
                    due,
                    job: id,
                    task: number,
                    version,
                });
            }
        }
        self.resend(&job);
        if job.fan_out().is_some() && !mutant!(LostFanOut) {
            self.fan_outs.push_back(id);
        }
        if job.counters().ready > 0 {
            self.ready.join(id);
        }
        self.jobs.insert(id, job);
    }
}

/// Figures of a shard, for metrics and debugging.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    pub jobs: usize,
    pub timers: usize,
    pub ready_jobs: usize,
    pub parked: usize,
    pub staged_events: usize,
    pub in_flight: bool,
}

#[cfg(test)]
impl Shard {
    /// Takes staged outputs out before their commit: for the bugs that the simulation puts in on purpose.
    pub fn steal_outputs(&mut self, wanted: impl Fn(&Output) -> bool) -> Vec<Output> {
        self.staged.outputs.extract_if(.., |output| wanted(output)).collect()
    }

    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }
}
