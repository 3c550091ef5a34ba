//! The bad days of a cluster: processes die or stand still, shards change hands, the bus is away, clocks jump.

use std::time::Duration;

use super::jobmaster::Jobmaster;
use super::world::{Happening, SHARDS, World};
use crate::domain::{Failure, FailureReason, Incarnation, ShardId};
use crate::event::Outcome;
use crate::worker::WorkerOptions;
use crate::worker::machine::Input;

/// How far one clock may be ahead of others: wishes carry times up to which they are wanted, the shortest 30 s.
const MOST_AHEAD: Duration = Duration::from_secs(25);

impl World {
    pub fn fault(&mut self) {
        if !self.is_stormy() {
            return;
        }
        let jobmaster = self.between(0, self.jobmasters.len() as i64) as usize;
        let worker = self.between(0, self.workers.len() as i64) as usize;
        match self.between(0, 100) {
            0..22 => self.crash_jobmaster(jobmaster),
            22..39 => self.pause(jobmaster),
            39..48 => self.crash_worker(worker),
            48..55 => self.pause_worker(worker),
            55..61 => self.cut_off(worker),
            61..67 => self.drain_worker(worker),
            67..78 => {
                let shard = ShardId(self.between(0, i64::from(SHARDS)) as u16);
                self.assign(shard, jobmaster);
            }
            78..88 => {
                let length = self.between(500, 20_000);
                self.outage_until_ms = self.time_ms + length;
                self.trace(|| format!("the bus is away for {length} ms"));
            }
            88..94 => {
                let forward = self.between(-2_000, 60_000);
                self.skew_ms += forward;
                self.trace(|| format!("all clocks jump by {forward} ms"));
                self.wake_all();
            }
            part => self.one_clock_jumps(part < 97, jobmaster, worker),
        }
        let next = self.between(200, 9_000);
        self.at(next, Happening::Fault);
    }

    fn one_clock_jumps(&mut self, of_jobmaster: bool, jobmaster: usize, worker: usize) {
        let part = self.between(0, 100);
        let ahead = if of_jobmaster {
            &mut self.jobmasters[jobmaster].ahead
        } else {
            &mut self.workers[worker].ahead
        };
        let jump = MOST_AHEAD.saturating_sub(*ahead) * part as u32 / 100;
        *ahead += jump;
        let whose = if of_jobmaster {
            format!("jm{jobmaster}")
        } else {
            format!("worker {worker}")
        };
        self.trace(|| format!("{whose}: its clock jumps by {jump:?}"));
        self.wake_all();
    }

    /// Timers were set by the clocks as they were.
    fn wake_all(&mut self) {
        for worker in 0..self.workers.len() {
            self.worker_turn(worker, Input::Tick);
        }
        for jobmaster in 0..self.jobmasters.len() {
            if !self.jobmasters[jobmaster].paused {
                for shard in (0..SHARDS).map(ShardId) {
                    self.after_turn(jobmaster, shard);
                }
            }
        }
    }

    pub fn crash_jobmaster(&mut self, number: usize) {
        if self.jobmasters[number].process.is_none() {
            return;
        }
        self.trace(|| format!("jm{number} crashes"));
        let ahead = self.jobmasters[number].ahead;
        self.jobmasters[number] = Jobmaster {
            ahead,
            ..Jobmaster::default()
        };
        let back = self.between(100, 8_000);
        self.at(back, Happening::StartJobmaster { jobmaster: number });
        self.rebalance();
    }

    pub fn crash_owner(&mut self, shard: ShardId) {
        if let Some(number) = self.owners.get(&shard).copied()
            && self.is_stormy()
        {
            self.crash_jobmaster(number);
        }
    }

    /// As by SIGSTOP: it stands still, even in the middle of a commit, and others take over.
    pub fn pause(&mut self, number: usize) {
        if !self.is_member(number) {
            return;
        }
        self.jobmasters[number].paused = true;
        let length = self.between(100, 60_000);
        self.trace(|| format!("jm{number} stands still for {length} ms"));
        self.at(length, Happening::Resume { jobmaster: number });
        self.rebalance();
    }

    pub fn resume(&mut self, number: usize) {
        self.trace(|| format!("jm{number} goes on"));
        self.jobmasters[number].paused = false;
        for happening in std::mem::take(&mut self.jobmasters[number].held) {
            self.at(0, happening);
        }
        self.rebalance();
    }

    pub fn crash_worker(&mut self, number: usize) {
        let Some(incarnation) = self.workers[number].incarnation() else {
            return;
        };
        self.trace(|| format!("worker {number} {incarnation}: crashes"));
        self.check.died(incarnation);
        self.workers[number].process = None;
        let back = self.between(100, 90_000);
        self.at(back, Happening::StartWorker { worker: number });
    }

    pub fn drain_worker(&mut self, number: usize) {
        self.worker_turn(number, Input::Drain);
    }

    /// Nothing reaches a worker, and nothing that it says arrives, for a while.
    fn cut_off(&mut self, number: usize) {
        let length = self.between(500, 70_000);
        self.workers[number].cut_until_ms = self.time_ms + length;
        self.trace(|| format!("worker {number} is cut off for {length} ms"));
        self.at(length, Happening::Reconnect { worker: number });
    }

    /// A worker process stands still; what it has started goes on, until the guardians have waited long enough.
    fn pause_worker(&mut self, number: usize) {
        let now = self.worker_now(number);
        let length = self.between(100, 90_000);
        let worker = &mut self.workers[number];
        let Some(process) = worker.process.as_mut().filter(|process| !process.paused) else {
            return;
        };
        process.paused = true;
        let incarnation = process.incarnation;
        let end = process.heard_at + WorkerOptions::default().dead_after;
        self.trace(|| format!("worker {number} {incarnation}: stands still for {length} ms"));
        self.at(
            length,
            Happening::ResumeWorker {
                worker: number,
                incarnation,
            },
        );
        self.at_time(
            end,
            now,
            Happening::GuardiansEnd {
                worker: number,
                incarnation,
            },
        );
    }

    pub fn guardians_end(&mut self, number: usize, incarnation: Incarnation) {
        let process = self.workers[number].process.as_mut();
        let Some(process) = process.filter(|process| process.incarnation == incarnation && process.paused) else {
            return;
        };
        // It will hear of that when it goes on.
        for attempt in std::mem::take(&mut process.running).into_keys() {
            let failure = Failure::new(FailureReason::WorkerLost, "its worker hung");
            process
                .held
                .push(Input::AttemptEnded(attempt, Outcome::Failed { failure }));
        }
        self.check.died(incarnation);
        self.trace(|| format!("worker {number} {incarnation}: its guardians end what it runs"));
    }

    pub fn resume_worker(&mut self, number: usize, incarnation: Incarnation) {
        let process = self.workers[number].process.as_mut();
        let Some(process) = process.filter(|process| process.incarnation == incarnation) else {
            return;
        };
        process.paused = false;
        let held = std::mem::take(&mut process.held);
        self.trace(|| format!("worker {number} {incarnation}: goes on"));
        for input in held {
            self.worker_turn(number, input);
        }
        self.worker_turn(number, Input::Tick);
    }
}
