//! The simulated world: processes, bus, clock and log, driven from one seed, one happening at a time.
//!
//! Jobmasters and workers are the real machines; what is simulated is what lies between them: durable topics of
//! commands and reports, transient ones of assignments, replies and heartbeats, commits that take time and whose
//! outcome may stay unknown, a clock that jumps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::check::Checker;
use super::jobmaster::{Jobmaster, Pending};
use super::log::ShardLog;
use super::worker::SimWorker;
use crate::domain::{Incarnation, JobId, ShardId, Timestamp};
use crate::event::{AssignmentMessage, AttemptRef, Beat, CommandMessage, Outcome, Reply, ReportMessage};

pub const SHARDS: u16 = 3;
pub const TIMELINE: Uuid = Uuid::from_u128(7);
/// Where simulated time begins.
const EPOCH_MS: i64 = 1_800_000_000_000;

/// Something that happens at a point in time.
#[derive(Debug)]
pub enum Happening {
    Assignment(AssignmentMessage),
    Beat(Beat),
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
    },
    JobmasterBeat {
        jobmaster: usize,
        incarnation: Incarnation,
    },
    WorkerTimer {
        worker: usize,
        incarnation: Incarnation,
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
    Client,
    Fault,
    Resume {
        jobmaster: usize,
    },
    StartWorker {
        worker: usize,
    },
    StartJobmaster {
        jobmaster: usize,
    },
}

/// What the owner of a commit gets to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Committed,
    Fenced,
    Unknown,
}

struct Entry(Reverse<(i64, u64)>, Happening);

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
    /// How far the clocks that the processes read have jumped.
    pub skew_ms: i64,
    pub log: BTreeMap<ShardId, ShardLog>,
    pub commands: BTreeMap<ShardId, Vec<CommandMessage>>,
    pub reports: BTreeMap<ShardId, Vec<ReportMessage>>,
    /// Who owns which shard, as the group has it.
    pub owners: BTreeMap<ShardId, usize>,
    pub jobmasters: Vec<Jobmaster>,
    pub workers: Vec<SimWorker>,
    pub check: Checker,
    pub client: super::client::Client,
    /// Nothing passes the bus before this time.
    pub outage_until_ms: i64,
    /// Faults happen until then; afterwards everything must come to its end.
    pub calm_after_ms: i64,
    /// Last arrival of messages by sender and kind, so that each sender's order is kept.
    fifo: BTreeMap<(u8, u128), i64>,
    pub steps: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            order: 0,
            time_ms: 0,
            skew_ms: 0,
            log: (0..SHARDS).map(|shard| (ShardId(shard), ShardLog::new())).collect(),
            commands: (0..SHARDS).map(|shard| (ShardId(shard), Vec::new())).collect(),
            reports: (0..SHARDS).map(|shard| (ShardId(shard), Vec::new())).collect(),
            owners: BTreeMap::new(),
            jobmasters: Vec::new(),
            workers: Vec::new(),
            check: Checker::default(),
            client: super::client::Client::default(),
            outage_until_ms: 0,
            calm_after_ms: 0,
            fifo: BTreeMap::new(),
            steps: 0,
        };
        world.calm_after_ms = world.between(20_000, 120_000);
        for number in 0..2 {
            world.jobmasters.push(Jobmaster::default());
            world.start_jobmaster(number);
        }
        for number in 0..2 {
            world.workers.push(SimWorker::new(number));
            world.start_worker(number);
        }
        world.at(10, Happening::Client);
        world.at(1_000, Happening::Fault);
        world
    }

    /// What the clocks of all processes say.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ms(EPOCH_MS + self.time_ms + self.skew_ms)
    }

    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        self.rng.random_range(from..to)
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100_u32) < percent
    }

    pub fn fresh_uuid(&mut self) -> Uuid {
        let random: u128 = self.rng.random();
        let ms = u128::from(self.now().as_ms() as u64) << 80;
        // The order of v7 ids made in one millisecond is that of their making.
        self.order += 1;
        Uuid::from_u128(
            ms | (0x7 << 76) | (u128::from(self.order & 0xfff) << 64) | (0x8 << 60) | (random & 0xffff_ffff),
        )
    }

    /// Lets something happen `delay_ms` from now.
    pub fn at(&mut self, delay_ms: i64, happening: Happening) {
        self.order += 1;
        self.queue
            .push(Entry(Reverse((self.time_ms + delay_ms.max(0), self.order)), happening));
    }

    /// Lets something happen when the processes' clocks say `due`.
    pub fn at_time(&mut self, due: Timestamp, happening: Happening) {
        let delay = due.as_ms() - self.now().as_ms();
        self.at(delay, happening);
    }

    /// Sends over the bus: late, in the order of the sender, after an outage, sometimes twice.
    pub fn send(&mut self, kind: u8, sender: u128, happening: Happening) {
        let delay = if self.chance(5) && self.is_stormy() {
            self.between(50, 3_000)
        } else {
            self.between(0, 6)
        };
        let earliest = (self.time_ms + delay).max(self.outage_until_ms);
        let arrival = self.fifo.entry((kind, sender)).or_default();
        *arrival = earliest.max(*arrival);
        let delay = *arrival - self.time_ms;
        self.at(delay, happening);
    }

    pub fn is_stormy(&self) -> bool {
        self.time_ms < self.calm_after_ms
    }

    /// Lets the next thing happen; false when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(Entry(Reverse((time_ms, _)), happening)) = self.queue.pop() else {
            return false;
        };
        self.time_ms = time_ms.max(self.time_ms);
        self.steps += 1;
        self.happen(happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Assignment(message) => self.deliver_assignment(message),
            Happening::Beat(beat) => self.deliver_beat(&beat),
            Happening::Reply(reply) => {
                self.worker_replies(&reply);
                self.client.on_reply(reply);
            }
            Happening::Command(shard, message) => {
                self.commands.entry(shard).or_default().push(*message);
                self.wake_reader(shard);
            }
            Happening::Report(shard, message) => {
                self.reports.entry(shard).or_default().push(*message);
                self.wake_reader(shard);
            }
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
            } => self.shard_timer(jobmaster, shard, generation),
            Happening::JobmasterBeat { jobmaster, incarnation } => self.jobmaster_beat(jobmaster, incarnation),
            Happening::WorkerTimer { worker, incarnation } => self.worker_timer(worker, incarnation),
            Happening::BeatAcknowledged {
                worker,
                incarnation,
                sent_at,
            } => {
                self.beat_acknowledged(worker, incarnation, sent_at);
            }
            Happening::AttemptStarts {
                worker,
                incarnation,
                attempt,
            } => {
                self.attempt_starts(worker, incarnation, attempt);
            }
            Happening::AttemptEnds {
                worker,
                incarnation,
                attempt,
                outcome,
            } => {
                self.attempt_ends(worker, incarnation, attempt, outcome);
            }
            Happening::Client => self.client_acts(),
            Happening::Fault => self.fault(),
            Happening::Resume { jobmaster } => self.resume(jobmaster),
            Happening::StartWorker { worker } => self.start_worker(worker),
            Happening::StartJobmaster { jobmaster } => self.start_jobmaster(jobmaster),
        }
    }

    /// One of the bad days of a cluster.
    fn fault(&mut self) {
        if !self.is_stormy() {
            return;
        }
        let jobmaster = self.between(0, self.jobmasters.len() as i64) as usize;
        let worker = self.between(0, self.workers.len() as i64) as usize;
        match self.between(0, 100) {
            0..25 => self.crash_jobmaster(jobmaster),
            25..45 => self.pause(jobmaster),
            45..60 => self.crash_worker(worker),
            60..68 => self.drain_worker(worker),
            68..80 => {
                let shard = ShardId(self.between(0, i64::from(SHARDS)) as u16);
                self.assign(shard, jobmaster);
            }
            80..90 => {
                let length = self.between(500, 20_000);
                self.outage_until_ms = self.time_ms + length;
            }
            _ => {
                let forward = self.between(-2_000, 60_000);
                self.skew_ms += forward;
                // Timers were set by the clock as it was.
                self.wake_all();
            }
        }
        let next = self.between(200, 9_000);
        self.at(next, Happening::Fault);
    }

    fn wake_all(&mut self) {
        for worker in 0..self.workers.len() {
            if let Some(incarnation) = self.workers[worker].incarnation() {
                self.at(0, Happening::WorkerTimer { worker, incarnation });
            }
        }
        for jobmaster in 0..self.jobmasters.len() {
            for shard in (0..SHARDS).map(ShardId) {
                self.after_turn(jobmaster, shard);
            }
        }
    }
}
