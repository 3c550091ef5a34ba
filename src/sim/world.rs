//! The simulated world: processes, bus, clock and log, driven from one seed, one happening at a time.
//!
//! Jobmasters, their publishers and workers are the real machines; what is simulated is what lies between them: durable
//! topics of commands, reports and events, transient ones of assignments, replies and heartbeats, commits that take time
//! and whose outcome may stay unknown, clocks that jump.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::check::Checker;
use super::client::Client;
use super::commits::Pending;
use super::jobmaster::Jobmaster;
use super::log::ShardLog;
use super::publisher::{Delivered, Topic};
use super::trace::Trace;
use super::worker::SimWorker;
use crate::bus::Message;
use crate::domain::{Incarnation, JobId, ShardId, Timestamp};
use crate::event::{AssignmentMessage, AttemptRef, Beat, Command, CommandMessage, Outcome, Reply, ReportMessage};
use crate::publish::Asked;
use crate::worker::WorkerOptions;

pub const SHARDS: u16 = 3;
pub const TIMELINE: Uuid = Uuid::from_u128(7);
/// Where simulated time begins.
const EPOCH_MS: i64 = 1_800_000_000_000;
/// Who does more within one millisecond turns in circles.
const MOST_AT_ONCE: u64 = 20_000;

/// Something that happens at a point in time.
#[derive(Debug)]
pub enum Happening {
    Assignment(AssignmentMessage),
    /// A message that a worker has had before comes again.
    AssignmentAgain {
        worker: usize,
        incarnation: Incarnation,
        offset: i64,
        message: AssignmentMessage,
    },
    Beat(Beat),
    /// A beat that a jobmaster could not hear while it stood still.
    LateBeat {
        jobmaster: usize,
        beat: Beat,
    },
    Reply(Reply),
    Command(ShardId, Box<CommandMessage>),
    Report(ShardId, Box<ReportMessage>),
    Read {
        jobmaster: usize,
        shard: ShardId,
    },
    Claim {
        jobmaster: usize,
        shard: ShardId,
        generation: u64,
    },
    Commit(Box<Pending>),
    Outcome {
        pending: Box<Pending>,
        outcome: Known,
    },
    Load {
        jobmaster: usize,
        shard: ShardId,
        generation: u64,
        job: JobId,
    },
    ShardTimer {
        jobmaster: usize,
        shard: ShardId,
        generation: u64,
        due: Timestamp,
    },
    JobmasterBeat {
        jobmaster: usize,
        incarnation: Incarnation,
    },
    WorkerTimer {
        worker: usize,
        incarnation: Incarnation,
        due: Timestamp,
    },
    BeatAcknowledged {
        worker: usize,
        incarnation: Incarnation,
        sent_at: Timestamp,
    },
    AttemptStarts {
        worker: usize,
        incarnation: Incarnation,
        attempt: AttemptRef,
    },
    AttemptEnds {
        worker: usize,
        incarnation: Incarnation,
        attempt: AttemptRef,
        outcome: Outcome,
    },
    /// Messages come into the topic of events.
    Published(Vec<(u16, Message)>),
    PublishEnds {
        jobmaster: usize,
        incarnation: Incarnation,
        delivered: Delivered,
    },
    PublisherReads {
        jobmaster: usize,
        incarnation: Incarnation,
        asked: Asked,
        limit: usize,
    },
    PublisherWakes {
        jobmaster: usize,
        incarnation: Incarnation,
    },
    Client,
    /// A client wants this now.
    Wish(Command),
    /// Somebody looks after the workers.
    Operator,
    Fault,
    /// The jobmaster that owns the shard crashes.
    CrashOwner(ShardId),
    Resume {
        jobmaster: usize,
    },
    ResumeWorker {
        worker: usize,
        incarnation: Incarnation,
    },
    /// A worker can be reached again.
    Reconnect {
        worker: usize,
    },
    /// What a worker process that stands still has started is ended by its guardians.
    GuardiansEnd {
        worker: usize,
        incarnation: Incarnation,
    },
    StartWorker {
        worker: usize,
    },
    StartJobmaster {
        jobmaster: usize,
    },
}

impl Happening {
    /// The jobmaster without which it does not happen: while that stands still, it waits.
    fn of_jobmaster(&self) -> Option<usize> {
        match self {
            Self::Read { jobmaster, .. }
            | Self::Claim { jobmaster, .. }
            | Self::Load { jobmaster, .. }
            | Self::ShardTimer { jobmaster, .. }
            | Self::JobmasterBeat { jobmaster, .. }
            | Self::LateBeat { jobmaster, .. }
            | Self::PublishEnds { jobmaster, .. }
            | Self::PublisherReads { jobmaster, .. }
            | Self::PublisherWakes { jobmaster, .. } => Some(*jobmaster),
            Self::Outcome { pending, .. } => Some(pending.jobmaster),
            _ => None,
        }
    }
}

/// What the owner of a commit gets to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Committed,
    Fenced,
    Unknown,
}

struct Entry(Reverse<(i64, u64)>, Box<Happening>);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

pub struct World {
    pub rng: StdRng,
    queue: BinaryHeap<Entry>,
    order: u64,
    /// Milliseconds since the beginning.
    pub time_ms: i64,
    /// How far the clocks of all machines have jumped.
    pub skew_ms: i64,
    pub log: BTreeMap<ShardId, ShardLog>,
    pub commands: BTreeMap<ShardId, Vec<CommandMessage>>,
    pub reports: BTreeMap<ShardId, Vec<ReportMessage>>,
    /// The topics of events.
    pub topics: BTreeMap<ShardId, Topic>,
    /// Who owns which shard, as the group has it.
    pub owners: BTreeMap<ShardId, usize>,
    pub jobmasters: Vec<Jobmaster>,
    pub workers: Vec<SimWorker>,
    pub check: Checker,
    pub client: Client,
    /// Nothing passes the bus before this time.
    pub outage_until_ms: i64,
    /// Faults happen until then; afterwards everything must come to its end.
    pub calm_after_ms: i64,
    /// Last arrival of messages by sender and kind, so that each sender's order is kept.
    fifo: BTreeMap<(u8, u128), i64>,
    pub steps: u64,
    steps_before_now: u64,
    pub trace: Trace,
    /// All workers read one partition of the assignments.
    pub shared_partition: bool,
    /// How often workers say what they hold.
    pub inventory_interval: Duration,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::with_inventories(seed, WorkerOptions::default().inventory_interval)
    }

    /// A world whose workers say what they hold as often as that.
    pub fn with_inventories(seed: u64, inventory_interval: Duration) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            order: 0,
            time_ms: 0,
            skew_ms: 0,
            log: (0..SHARDS).map(|shard| (ShardId(shard), ShardLog::new())).collect(),
            commands: (0..SHARDS).map(|shard| (ShardId(shard), Vec::new())).collect(),
            reports: (0..SHARDS).map(|shard| (ShardId(shard), Vec::new())).collect(),
            topics: BTreeMap::new(),
            owners: BTreeMap::new(),
            jobmasters: Vec::new(),
            workers: Vec::new(),
            check: Checker::default(),
            client: Client::default(),
            outage_until_ms: 0,
            calm_after_ms: 0,
            fifo: BTreeMap::new(),
            steps: 0,
            steps_before_now: 0,
            trace: Trace::from_env(),
            shared_partition: false,
            inventory_interval,
        };
        world.calm_after_ms = world.between(20_000, 120_000);
        world.shared_partition = world.chance(30);
        for number in 0..2 {
            world.jobmasters.push(Jobmaster::default());
            world.start_jobmaster(number);
        }
        for number in 0..2 {
            world.workers.push(SimWorker::new(number));
            world.start_worker(number);
        }
        // Without a word to chance, so that the other seeds are what they were.
        if seed % 4 == 1 {
            world.at(1_500, Happening::Operator);
        }
        world.at(10, Happening::Client);
        world.at(1_000, Happening::Fault);
        world
    }

    /// What the clocks of clients say.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ms(EPOCH_MS + self.time_ms + self.skew_ms)
    }

    /// What the clock of a jobmaster's machine says.
    pub fn jobmaster_now(&self, number: usize) -> Timestamp {
        self.now() + self.jobmasters[number].ahead
    }

    /// What the clock of a worker's machine says.
    pub fn worker_now(&self, number: usize) -> Timestamp {
        self.now() + self.workers[number].ahead
    }

    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        self.rng.random_range(from..to)
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100_u32) < percent
    }

    /// A v7 id made on a machine whose clock says `now`.
    pub fn fresh_uuid(&mut self, now: Timestamp) -> Uuid {
        let random: u128 = self.rng.random();
        let ms = u128::from(now.as_ms() as u64) << 80;
        // The order of v7 ids made in one millisecond is that of their making.
        self.order += 1;
        Uuid::from_u128(
            ms | (0x7 << 76) | (u128::from(self.order & 0xfff) << 64) | (0x8 << 60) | (random & 0xffff_ffff),
        )
    }

    /// Lets something happen `delay_ms` from now.
    pub fn at(&mut self, delay_ms: i64, happening: Happening) {
        self.order += 1;
        let key = Reverse((self.time_ms + delay_ms.max(0), self.order));
        self.queue.push(Entry(key, Box::new(happening)));
    }

    /// Lets something happen when a clock that says `now` says `due`.
    pub fn at_time(&mut self, due: Timestamp, now: Timestamp, happening: Happening) {
        self.at(due.as_ms() - now.as_ms(), happening);
    }

    /// Sends over the bus: late, in the order of the sender, after an outage, sometimes twice.
    pub fn send(&mut self, kind: u8, sender: u128, happening: Happening) {
        self.send_after(0, kind, sender, happening);
    }

    /// Likewise, but nothing arrives before `earliest_ms`.
    pub fn send_after(&mut self, earliest_ms: i64, kind: u8, sender: u128, happening: Happening) {
        let delay = if self.chance(5) && self.is_stormy() {
            self.between(50, 3_000)
        } else {
            self.between(0, 6)
        };
        let earliest = (self.time_ms + delay).max(self.outage_until_ms).max(earliest_ms);
        let arrival = self.fifo.entry((kind, sender)).or_default();
        *arrival = earliest.max(*arrival);
        let delay = *arrival - self.time_ms;
        self.at(delay, happening);
    }

    pub fn rng_per_mille(&mut self) -> u32 {
        self.rng.random_range(0..1_000)
    }

    pub fn is_stormy(&self) -> bool {
        self.time_ms < self.calm_after_ms
    }

    /// Lets the next thing happen; false when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(Entry(Reverse((time_ms, _)), happening)) = self.queue.pop() else {
            return false;
        };
        if time_ms > self.time_ms {
            (self.time_ms, self.steps_before_now) = (time_ms, self.steps);
        }
        self.steps += 1;
        if self.steps - self.steps_before_now > MOST_AT_ONCE {
            self.check.wrong.push(format!("time stands still: {happening:?}"));
        }
        self.happen(*happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(number) = happening.of_jobmaster() {
            let jobmaster = &mut self.jobmasters[number];
            if jobmaster.process.is_some() && jobmaster.paused {
                return jobmaster.held.push(happening);
            }
        }
        match happening {
            Happening::Assignment(message) => self.deliver_assignment(&message),
            Happening::AssignmentAgain {
                worker,
                incarnation,
                offset,
                message,
            } => self.assignment_again(worker, incarnation, offset, message),
            Happening::Beat(beat) => self.deliver_beat(&beat),
            Happening::LateBeat { jobmaster, beat } => self.hear_beat(jobmaster, &beat),
            Happening::Reply(reply) => self.client.on_reply(reply),
            Happening::Command(shard, message) => {
                self.commands.entry(shard).or_default().push(*message);
                self.wake_reader(shard);
            }
            Happening::Report(shard, message) => {
                self.reports.entry(shard).or_default().push(*message);
                self.wake_reader(shard);
            }
            Happening::Client => self.client_acts(),
            Happening::Wish(command) => self.wish(command),
            Happening::Operator => self.operator_acts(),
            Happening::Fault => self.fault(),
            Happening::CrashOwner(shard) => self.crash_owner(shard),
            Happening::Resume { jobmaster } => self.resume(jobmaster),
            Happening::ResumeWorker { worker, incarnation } => self.resume_worker(worker, incarnation),
            Happening::Reconnect { worker } => self.reconnect(worker),
            Happening::GuardiansEnd { worker, incarnation } => self.guardians_end(worker, incarnation),
            Happening::StartWorker { worker } => self.start_worker(worker),
            Happening::StartJobmaster { jobmaster } => self.start_jobmaster(jobmaster),
            Happening::Published(messages) => self.published(&messages),
            other => self.happen_to_process(other),
        }
    }

    fn happen_to_process(&mut self, happening: Happening) {
        match happening {
            Happening::Read { jobmaster, shard } => self.read(jobmaster, shard),
            Happening::Claim {
                jobmaster,
                shard,
                generation,
            } => self.claim(jobmaster, shard, generation),
            Happening::Commit(pending) => self.commit(pending),
            Happening::Outcome { pending, outcome } => self.outcome(*pending, outcome),
            Happening::Load {
                jobmaster,
                shard,
                generation,
                job,
            } => self.load(jobmaster, shard, generation, job),
            Happening::ShardTimer {
                jobmaster,
                shard,
                generation,
                due,
            } => self.shard_timer(jobmaster, shard, generation, due),
            Happening::JobmasterBeat { jobmaster, incarnation } => self.jobmaster_beat(jobmaster, incarnation),
            Happening::PublishEnds {
                jobmaster,
                incarnation,
                delivered,
            } => self.publish_ends(jobmaster, incarnation, &delivered),
            Happening::PublisherReads {
                jobmaster,
                incarnation,
                asked,
                limit,
            } => self.publisher_reads(jobmaster, incarnation, asked, limit),
            Happening::PublisherWakes { jobmaster, incarnation } => self.publisher_wakes(jobmaster, incarnation),
            Happening::WorkerTimer {
                worker,
                incarnation,
                due,
            } => self.worker_timer(worker, incarnation, due),
            Happening::BeatAcknowledged {
                worker,
                incarnation,
                sent_at,
            } => self.beat_acknowledged(worker, incarnation, sent_at),
            Happening::AttemptStarts {
                worker,
                incarnation,
                attempt,
            } => self.attempt_starts(worker, incarnation, attempt),
            Happening::AttemptEnds {
                worker,
                incarnation,
                attempt,
                outcome,
            } => self.attempt_ends(worker, incarnation, attempt, outcome),
            other => self.check.wrong.push(format!("nobody knows what to do with {other:?}")),
        }
    }
}
