//! The worker as a synchronous machine: inputs and the time go in, outputs come out.
//!
//! Must stay true:
//! - At most `slots` attempts run; each is started once; each is held until its end is acknowledged.
//! - An assignment that is already held starts nothing; a message that came before (by its offset), of another
//!   timeline, for another incarnation, or of an earlier epoch of its shard changes nothing but the count of credits.
//! - Starts and ends are repeated until acknowledged.
//! - `dead_after` after the last acknowledged heartbeat was sent, nothing runs any more.
//!
//! No clock, no randomness, no input or output here: the simulation drives this very machine.

mod attempt;
mod credits;
mod life;
mod liveness;
mod message;
mod outbox;
mod shard;
#[cfg(test)]
mod tests;
mod work;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use self::attempt::Held;
use self::credits::{Credits, Pace};
use self::liveness::Liveness;
use self::shard::{Manner, Shard};
use super::options::{InvalidWorkerOptions, WorkerOptions};
use crate::domain::{ShardId, Standing, Timestamp};
use crate::event::AttemptRef;

pub use message::{ExitReason, Identity, Input, Output};

/// The shortest time between two heartbeats that only tell of new credits.
const BEAT_GAP: Duration = Duration::from_millis(5);
/// After how long a registration is repeated.
const REGISTER_RETRY: Duration = Duration::from_secs(1);
/// How long a registration is wanted.
const REGISTER_WANTED: Duration = Duration::from_secs(30);
/// How long a worker that has drained waits for what it reported to be acknowledged, and then for its goodbye.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Where the worker stands between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Nothing new; at `kill_at` what runs is ended, at `leave_at` it leaves whatever is not acknowledged.
    Draining {
        kill_at: Option<Timestamp>,
        leave_at: Timestamp,
    },
    /// It has said goodbye and waits for the answer.
    Leaving {
        until: Timestamp,
    },
    Gone,
}

/// What the machine has done so far, for metrics. Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    pub handed_back: u64,
    pub reports: u64,
    pub report_items: u64,
    /// Items that were said before.
    pub repeats: u64,
    pub beats: u64,
    /// Messages that were not for this incarnation, came twice, or were of an earlier epoch.
    pub dropped: u64,
}

/// What the machine is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    pub registered: bool,
    pub draining: bool,
    /// Takes no new work; what runs goes on.
    pub cordoned: bool,
    /// Its heartbeats have not been acknowledged for long.
    pub fading: bool,
    pub exited: bool,
    pub running: u32,
    pub queued: u32,
    /// Ended, and not acknowledged.
    pub unacknowledged: u32,
    pub live_jobmasters: u32,
    /// Credits that are granted and not used.
    pub outstanding: u64,
    pub prefetch: u64,
}

/// See the module.
#[derive(Debug)]
pub struct WorkerMachine {
    identity: Identity,
    options: WorkerOptions,
    manner: Manner,
    phase: Phase,
    registered: bool,
    register_at: Timestamp,
    /// As its shard has said last.
    standing: Standing,
    /// Of the last message of assignments.
    offset: Option<i64>,
    shards: Vec<Shard>,
    /// Shards with something to send.
    dirty: BTreeSet<ShardId>,
    /// Attempts that wait for a slot, oldest first; those that are no longer queued are passed over.
    queue: VecDeque<AttemptRef>,
    queued: u32,
    running: u32,
    unacknowledged: u32,
    /// When to say what again; entries whose time is not that of the attempt are passed over.
    repeats: BinaryHeap<Reverse<(Timestamp, AttemptRef)>>,
    credits: Credits,
    pace: Pace,
    prefetch: u64,
    liveness: Liveness,
    /// The attempts are being ended because nobody hears the worker.
    fading: bool,
    /// Something of the worker itself has changed that jobmasters must know at once.
    changed: bool,
    /// A heartbeat is to go before its time.
    beat_wanted: bool,
    inventory_at: Timestamp,
    totals: Totals,
}

impl WorkerMachine {
    /// A worker that begins to live now.
    ///
    /// # Errors
    /// Options that contradict each other: the first such.
    pub fn new(identity: Identity, options: WorkerOptions, now: Timestamp) -> Result<Self, InvalidWorkerOptions> {
        if let Some(problem) = options.problems().into_iter().next() {
            return Err(problem);
        }
        let manner = Manner {
            delay: options.report_delay,
            retry_min: options.report_retry_min,
            retry_max: options.report_retry_max,
        };
        let shards = (0..identity.shards).map(|_| Shard::default()).collect();
        Ok(Self {
            manner,
            phase: Phase::Serving,
            registered: false,
            register_at: now,
            standing: Standing::default(),
            offset: None,
            shards,
            dirty: BTreeSet::new(),
            queue: VecDeque::new(),
            queued: 0,
            running: 0,
            unacknowledged: 0,
            repeats: BinaryHeap::new(),
            credits: Credits::default(),
            pace: Pace::default(),
            prefetch: 0,
            liveness: Liveness::new(options.heartbeat_interval, options.grace, options.dead_after, now),
            fading: false,
            changed: false,
            beat_wanted: false,
            inventory_at: now + options.inventory_interval,
            totals: Totals::default(),
            identity,
            options,
        })
    }

    /// One input and the end of its turn: for who has no use for larger turns.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.handle(input, now, &mut outputs);
        self.end_turn(now, &mut outputs);
        outputs
    }

    /// Takes an input. What is to be done here ([`Output::Start`], `Cancel`, `Stop`, `Exit`) comes at once; what is to
    /// be sent comes at the end of the turn, so that many inputs share a message.
    pub fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Gone {
            return;
        }
        if let Input::BeatAcknowledged { sent_at } = &input {
            self.liveness.acknowledged(*sent_at);
        }
        self.check_contact(now, outputs);
        if self.phase == Phase::Gone {
            return;
        }
        match input {
            Input::Assignments { offset, message } => self.assignments(offset, message, now, outputs),
            Input::Beat(beat) => self.beat(&beat, now, outputs),
            Input::AttemptStarted(attempt) => self.started(attempt),
            Input::AttemptEnded(attempt, outcome) => self.ended(attempt, outcome, now),
            Input::BeatAcknowledged { .. } | Input::Tick => {}
            Input::Drain => self.drain(now),
        }
        self.fill_slots(outputs);
    }

    /// Ends a turn: timers, credits, and what is to be sent.
    pub fn end_turn(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Gone {
            return;
        }
        self.check_contact(now, outputs);
        self.hand_back_old(now);
        self.repeat_due(now);
        self.advance_drain(now, outputs);
        if self.phase == Phase::Gone {
            return;
        }
        self.fill_slots(outputs);
        self.settle_credits(now);
        self.send(now, outputs);
    }

    /// When the machine wants to be asked again, at the latest.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        if self.phase == Phase::Gone {
            return None;
        }
        let mut next = self.liveness.next_beat().min(self.liveness.next_change(self.fading));
        let mut sooner = |at: Option<Timestamp>| next = at.map_or(next, |at| at.min(next));
        sooner(
            self.dirty
                .iter()
                .filter_map(|shard| self.shard(*shard)?.due(self.manner.delay))
                .min(),
        );
        sooner(self.repeats.peek().map(|Reverse((at, _))| *at));
        sooner(self.oldest_queued().map(|since| since + self.options.handback_after));
        sooner(self.beat_wanted.then(|| self.liveness.next_extra_beat(BEAT_GAP)));
        match self.phase {
            Phase::Serving => sooner(Some(if self.registered {
                self.inventory_at
            } else {
                self.register_at
            })),
            Phase::Draining { kill_at, leave_at } => {
                sooner(kill_at);
                sooner(Some(leave_at));
                sooner(self.registered.then_some(self.inventory_at));
            }
            Phase::Leaving { until } => sooner(Some(until)),
            Phase::Gone => {}
        }
        Some(next)
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn glance(&self) -> Glance {
        Glance {
            registered: self.registered,
            draining: matches!(self.phase, Phase::Draining { .. } | Phase::Leaving { .. }),
            cordoned: self.standing.cordoned,
            fading: self.fading,
            exited: self.phase == Phase::Gone,
            running: self.running,
            queued: self.queued,
            unacknowledged: self.unacknowledged,
            live_jobmasters: self.credits.live() as u32,
            outstanding: self.credits.outstanding(),
            prefetch: self.prefetch,
        }
    }

    /// Everything held, in order, and whether it has ended.
    pub fn held(&self) -> impl Iterator<Item = (AttemptRef, bool)> + '_ {
        let attempts = self.shards.iter().flat_map(|shard| &shard.attempts);
        attempts.map(|(attempt, held)| (*attempt, held.is_ended()))
    }

    /// Takes no new work, and cannot be counted on.
    fn refuses(&self) -> bool {
        self.phase != Phase::Serving || self.fading
    }

    /// Takes no new work.
    fn is_closed(&self) -> bool {
        self.refuses() || self.standing.cordoned
    }

    fn shard(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(usize::from(shard.0))
    }

    fn shard_mut(&mut self, shard: ShardId) -> Option<&mut Shard> {
        self.shards.get_mut(usize::from(shard.0))
    }

    fn shard_of(&self, attempt: AttemptRef) -> ShardId {
        attempt.task.job.shard(self.identity.shards)
    }

    fn find(&self, attempt: AttemptRef) -> Option<&Held> {
        self.shard(self.shard_of(attempt))?.attempts.get(&attempt)
    }

    fn find_mut(&mut self, attempt: AttemptRef) -> Option<&mut Held> {
        let shard = self.shard_of(attempt);
        self.shard_mut(shard)?.attempts.get_mut(&attempt)
    }

    /// The attempt's news go into the next message to its shard.
    fn tell(&mut self, attempt: AttemptRef) {
        let id = self.shard_of(attempt);
        if let Some(shard) = self.shard_mut(id) {
            shard.tell(attempt);
            if shard.has_pending() {
                self.dirty.insert(id);
            }
        }
    }
}
