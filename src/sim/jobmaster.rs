//! Jobmasters in the simulated world: real shards, directory and credits; commits, claims and deliveries in between.

use std::collections::BTreeMap;
use std::time::Duration;

use super::publisher::Publisher;
use super::trace;
use super::world::{Happening, SHARDS, TIMELINE, World};
use crate::domain::{Incarnation, JobId, ShardId, Timestamp};
use crate::event::Beat;
use crate::shard::{CreditPool, Directory, DirectoryOptions, Input, Shard, ShardOptions, WorkerGone};

/// A process, alive, paused or dead.
#[derive(Default)]
pub struct Jobmaster {
    pub process: Option<Process>,
    pub paused: bool,
    /// What happens to a paused process happens when it goes on.
    pub held: Vec<Happening>,
    /// By how much the clock of its machine is ahead of the clients'.
    pub ahead: Duration,
}

pub struct Process {
    pub incarnation: Incarnation,
    pub credits: CreditPool,
    pub directory: Directory,
    pub shards: BTreeMap<ShardId, Owned>,
    pub publisher: Publisher,
    pub generations: u64,
}

/// A shard that this process believes to own.
pub struct Owned {
    pub machine: Shard,
    pub generation: u64,
    commands_read: i64,
    reports_read: i64,
    timer_at: Option<Timestamp>,
    read_is_due: bool,
}

impl World {
    pub fn start_jobmaster(&mut self, number: usize) {
        if self.jobmasters[number].process.is_some() {
            return;
        }
        let now = self.jobmaster_now(number);
        let incarnation = Incarnation(self.fresh_uuid(now));
        let directory = Directory::new(DirectoryOptions {
            jobmaster: incarnation,
            timeline: TIMELINE,
            inactive_after: Duration::from_secs(6),
            lost_after: Duration::from_secs(45),
            feed_fresh_for: Duration::from_secs(4),
            dead_before: None,
        });
        self.trace(|| format!("jm{number} {incarnation}: starts"));
        let jobmaster = &mut self.jobmasters[number];
        jobmaster.paused = false;
        jobmaster.process = Some(Process {
            incarnation,
            credits: CreditPool::default(),
            directory,
            shards: BTreeMap::new(),
            publisher: Publisher::new(),
            generations: 0,
        });
        self.at(
            0,
            Happening::JobmasterBeat {
                jobmaster: number,
                incarnation,
            },
        );
        self.rebalance();
    }

    pub fn claim(&mut self, number: usize, shard: ShardId, generation: u64) {
        // The proof of ownership: the group refuses who does not own.
        if self.owners.get(&shard) != Some(&number) {
            return;
        }
        let now = self.jobmaster_now(number);
        let seed = self.order_seed();
        let Some(log) = self.log.get_mut(&shard) else { return };
        let loaded = match log.claim() {
            Ok(loaded) => loaded,
            Err(error) => {
                return self
                    .check
                    .wrong
                    .push(format!("shard {shard} cannot be loaded: {error}"));
            }
        };
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        process.shards.remove(&shard);
        let options = ShardOptions {
            shard,
            shards: SHARDS,
            timeline: TIMELINE,
            jobmaster: process.incarnation,
            chunk_events: 16,
            most_staged: 48,
            most_parked: 8,
            snapshot_events: 60,
            seed,
        };
        let (commands_read, reports_read) = (loaded.cursor.commands, loaded.cursor.reports);
        let (epoch, next, published) = (loaded.epoch, loaded.next_seq, log.published);
        process.publisher.machine.own(shard, epoch, next, published);
        let machine = Shard::load(options, loaded);
        let dead = process.directory.watch(&machine.incarnations(), now);
        process.generations = process.generations.max(generation);
        let owned = Owned {
            machine,
            generation,
            commands_read,
            reports_read,
            timer_at: None,
            read_is_due: false,
        };
        process.shards.insert(shard, owned);
        self.trace(|| format!("jm{number} shard {shard}: claimed, epoch {epoch}"));
        for gone in dead {
            self.turn(number, shard, Input::WorkerGone(gone));
        }
        self.turn(number, shard, Input::Wake);
        self.wake_reader(shard);
        self.publish(number);
    }

    fn order_seed(&mut self) -> u64 {
        self.between(0, i64::MAX) as u64
    }

    pub fn wake_reader(&mut self, shard: ShardId) {
        for number in 0..self.jobmasters.len() {
            let delay = self.between(0, 4);
            let Some(process) = &mut self.jobmasters[number].process else {
                continue;
            };
            if let Some(owned) = process.shards.get_mut(&shard)
                && !owned.read_is_due
            {
                owned.read_is_due = true;
                self.at(
                    delay,
                    Happening::Read {
                        jobmaster: number,
                        shard,
                    },
                );
            }
        }
    }

    /// The shard reads the next message of one of its partitions.
    pub fn read(&mut self, number: usize, shard: ShardId) {
        if self.time_ms < self.outage_until_ms {
            let wait = self.outage_until_ms - self.time_ms;
            return self.at(
                wait,
                Happening::Read {
                    jobmaster: number,
                    shard,
                },
            );
        }
        let commands_first = self.chance(50);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let Some(owned) = process.shards.get_mut(&shard) else {
            return;
        };
        owned.read_is_due = false;
        if owned.machine.is_congested() {
            return;
        }
        let command = self.commands[&shard].get(owned.commands_read as usize);
        let report = self.reports[&shard].get(owned.reports_read as usize);
        let input = match (command, report) {
            (Some(message), report) if commands_first || report.is_none() => {
                owned.commands_read += 1;
                Input::Command {
                    offset: owned.commands_read - 1,
                    message: message.clone(),
                }
            }
            (_, Some(message)) => {
                owned.reports_read += 1;
                Input::Report {
                    offset: owned.reports_read - 1,
                    message: message.clone(),
                }
            }
            (_, None) => return,
        };
        self.turn(number, shard, input);
        self.wake_reader(shard);
    }

    /// One turn of a shard, and what follows from it.
    pub fn turn(&mut self, number: usize, shard: ShardId, input: Input) {
        let now = self.jobmaster_now(number);
        self.trace(|| format!("jm{number} shard {shard}: {}", trace::input(&input)));
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let Some(owned) = process.shards.get_mut(&shard) else {
            return;
        };
        if let Err(poisoned) = owned.machine.handle(input, now, &mut process.credits) {
            self.check.wrong.push(format!("shard {shard}: {poisoned}"));
        }
        self.after_turn(number, shard);
    }

    pub fn after_turn(&mut self, number: usize, shard: ShardId) {
        let now = self.jobmaster_now(number);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let Some(owned) = process.shards.get_mut(&shard) else {
            return;
        };
        let (generation, incarnation) = (owned.generation, process.incarnation);
        for job in owned.machine.take_loads() {
            let delay = self.between(1, 100);
            self.at(
                delay,
                Happening::Load {
                    jobmaster: number,
                    shard,
                    generation,
                    job,
                },
            );
        }
        self.release_early(number, shard);
        self.take_batch(number, shard, generation, incarnation);
        let Some(owned) = self.owned(number, shard) else { return };
        if let Some(due) = owned.machine.next_wakeup()
            && owned.timer_at.is_none_or(|at| due < at || at <= now)
        {
            owned.timer_at = Some(due);
            self.at_time(
                due,
                now,
                Happening::ShardTimer {
                    jobmaster: number,
                    shard,
                    generation,
                    due,
                },
            );
        }
        self.wake_hungry(number);
    }

    pub fn owned(&mut self, number: usize, shard: ShardId) -> Option<&mut Owned> {
        self.jobmasters[number].process.as_mut()?.shards.get_mut(&shard)
    }

    fn wake_hungry(&mut self, number: usize) {
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        if let Some(shard) = process.credits.next_to_wake(None) {
            if process.shards.contains_key(&shard) {
                self.turn(number, shard, Input::Wake);
            } else if let Some(process) = &mut self.jobmasters[number].process {
                process.credits.end_turn(shard, crate::shard::Hunger::None);
            }
        }
    }

    pub fn shard_timer(&mut self, number: usize, shard: ShardId, generation: u64, due: Timestamp) {
        let owned = self.owned(number, shard);
        let Some(owned) = owned.filter(|owned| owned.generation == generation && owned.timer_at == Some(due)) else {
            return;
        };
        owned.timer_at = None;
        self.turn(number, shard, Input::Timer);
    }

    pub fn load(&mut self, number: usize, shard: ShardId, generation: u64, job: JobId) {
        if self
            .owned(number, shard)
            .is_none_or(|owned| owned.generation != generation)
        {
            return;
        }
        match self.log[&shard].job(job) {
            Ok(found) => self.turn(
                number,
                shard,
                Input::Activated {
                    job,
                    found: found.map(Box::new),
                },
            ),
            Err(error) => self.check.wrong.push(format!("{job} cannot be loaded: {error}")),
        }
    }

    pub fn deliver_beat(&mut self, beat: &Beat) {
        for number in 0..self.jobmasters.len() {
            if self.jobmasters[number].paused {
                let (jobmaster, beat) = (number, beat.clone());
                self.jobmasters[number]
                    .held
                    .push(Happening::LateBeat { jobmaster, beat });
            } else {
                self.hear_beat(number, beat);
            }
        }
        self.worker_beats(beat);
    }

    pub fn hear_beat(&mut self, number: usize, beat: &Beat) {
        let now = self.jobmaster_now(number);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let gone = process.directory.on_beat(beat.clone(), now, &mut process.credits);
        self.tell_gone(number, gone);
        self.wake_hungry(number);
    }

    fn tell_gone(&mut self, number: usize, gone: Vec<WorkerGone>) {
        for gone in gone {
            for shard in (0..SHARDS).map(ShardId) {
                self.turn(number, shard, Input::WorkerGone(gone));
            }
        }
    }

    pub fn jobmaster_beat(&mut self, number: usize, incarnation: Incarnation) {
        let now = self.jobmaster_now(number);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        if process.incarnation != incarnation {
            return;
        }
        let gone = process.directory.tick(now, &mut process.credits);
        process.directory.return_credits(&mut process.credits);
        let beat = Beat::Jobmaster(process.directory.beat(now, false, &process.credits));
        self.tell_gone(number, gone);
        self.send(3, incarnation.0.as_u128(), Happening::Beat(beat));
        self.at(
            1_000,
            Happening::JobmasterBeat {
                jobmaster: number,
                incarnation,
            },
        );
        // Sooner or later a member hears what it has lost.
        let lost: Vec<ShardId> = self
            .owners
            .iter()
            .filter(|(_, owner)| **owner != number)
            .map(|(it, _)| *it)
            .collect();
        for shard in lost {
            if self.chance(20) {
                self.close_shard(number, shard);
            }
        }
        self.rebalance();
    }
}
