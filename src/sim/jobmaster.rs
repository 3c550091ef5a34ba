//! Jobmasters in the simulated world: real shards, directory and credits; commits, claims and deliveries in between.

use std::collections::BTreeMap;
use std::time::Duration;

use super::log::Outcome as LogOutcome;
use super::mutant::{self, Mutant};
use super::world::{Happening, Known, SHARDS, TIMELINE, World};
use crate::domain::{Epoch, Incarnation, JobId, ShardId, Timestamp};
use crate::event::{AssignmentItem, AssignmentMessage, Beat, Reply, Version};
use crate::shard::{Batch, CreditPool, Directory, DirectoryOptions, Input, Output, Shard, ShardOptions, WorkerGone};

/// A process, alive, paused or dead.
#[derive(Default)]
pub struct Jobmaster {
    pub process: Option<Process>,
    pub paused: bool,
    /// What happens to a paused process happens when it goes on.
    held: Vec<Happening>,
    hungry: bool,
}

pub struct Process {
    pub incarnation: Incarnation,
    pub credits: CreditPool,
    pub directory: Directory,
    pub shards: BTreeMap<ShardId, Owned>,
    generations: u64,
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

/// A commit under way.
#[derive(Debug)]
pub struct Pending {
    pub jobmaster: usize,
    pub incarnation: Incarnation,
    pub shard: ShardId,
    pub generation: u64,
    pub batch: Batch,
}

impl World {
    pub fn start_jobmaster(&mut self, number: usize) {
        if self.jobmasters[number].process.is_some() {
            return;
        }
        let incarnation = Incarnation(self.fresh_uuid());
        let directory = Directory::new(DirectoryOptions {
            jobmaster: incarnation,
            inactive_after: Duration::from_secs(6),
            lost_after: Duration::from_secs(45),
            feed_fresh_for: Duration::from_secs(4),
            dead_before: None,
        });
        self.jobmasters[number] = Jobmaster {
            process: Some(Process {
                incarnation,
                credits: CreditPool::default(),
                directory,
                shards: BTreeMap::new(),
                generations: 0,
            }),
            ..Jobmaster::default()
        };
        self.at(
            0,
            Happening::JobmasterBeat {
                jobmaster: number,
                incarnation,
            },
        );
        self.rebalance();
    }

    /// The group gives every shard without a living owner to one.
    fn rebalance(&mut self) {
        let living: Vec<usize> = (0..self.jobmasters.len())
            .filter(|number| self.is_member(*number))
            .collect();
        if living.is_empty() {
            return;
        }
        for shard in (0..SHARDS).map(ShardId) {
            let owner = self.owners.get(&shard).copied().filter(|owner| self.is_member(*owner));
            let holds = owner
                .and_then(|owner| self.process(owner))
                .is_some_and(|it| it.shards.contains_key(&shard));
            if owner.is_none() || !holds {
                let index = self.between(0, living.len() as i64) as usize;
                let owner = owner.unwrap_or(living[index]);
                self.assign(shard, owner);
            }
        }
    }

    fn is_member(&self, number: usize) -> bool {
        let jobmaster = &self.jobmasters[number];
        jobmaster.process.is_some() && !jobmaster.paused
    }

    fn process(&self, number: usize) -> Option<&Process> {
        self.jobmasters[number].process.as_ref()
    }

    /// The group decides that `number` owns the shard; the earlier owner may find out late, or never.
    pub fn assign(&mut self, shard: ShardId, number: usize) {
        if !self.is_member(number) {
            return;
        }
        self.owners.insert(shard, number);
        for other in 0..self.jobmasters.len() {
            // A revoke that arrives. Otherwise the epoch alone fences.
            if self.is_member(other) && (other == number || self.chance(60)) {
                self.close_shard(other, shard);
            }
        }
        self.claim_later(number, shard);
    }

    pub fn claim_later(&mut self, number: usize, shard: ShardId) {
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        process.generations += 1;
        let generation = process.generations;
        let delay = self.between(1, 300);
        self.at(
            delay,
            Happening::Claim {
                jobmaster: number,
                shard,
                generation,
            },
        );
    }

    fn close_shard(&mut self, number: usize, shard: ShardId) {
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        process.shards.remove(&shard);
    }

    pub fn claim(&mut self, number: usize, shard: ShardId, generation: u64) {
        if self.hold(number, || Happening::Claim {
            jobmaster: number,
            shard,
            generation,
        }) {
            return;
        }
        // The proof of ownership: the group refuses who does not own.
        if self.owners.get(&shard) != Some(&number) {
            return;
        }
        let now = self.now();
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
        for gone in dead {
            self.turn(number, shard, Input::WorkerGone(gone));
        }
        self.turn(number, shard, Input::Wake);
        self.wake_reader(shard);
    }

    fn order_seed(&mut self) -> u64 {
        self.between(0, i64::MAX) as u64
    }

    /// A process that is paused does nothing now; `happening` waits for it. A dead one does nothing at all.
    fn hold(&mut self, number: usize, happening: impl FnOnce() -> Happening) -> bool {
        let jobmaster = &mut self.jobmasters[number];
        if jobmaster.process.is_some() && jobmaster.paused {
            jobmaster.held.push(happening());
            return true;
        }
        jobmaster.process.is_none()
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
        if self.hold(number, || Happening::Read {
            jobmaster: number,
            shard,
        }) {
            return;
        }
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
        let now = self.now();
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
        let now = self.now();
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
                Happening::ShardTimer {
                    jobmaster: number,
                    shard,
                    generation,
                },
            );
        }
        self.wake_hungry(number);
    }

    fn owned(&mut self, number: usize, shard: ShardId) -> Option<&mut Owned> {
        self.jobmasters[number].process.as_mut()?.shards.get_mut(&shard)
    }

    fn take_batch(&mut self, number: usize, shard: ShardId, generation: u64, incarnation: Incarnation) {
        let Some(owned) = self.owned(number, shard) else { return };
        let Some(batch) = owned.machine.take() else { return };
        let delay = self.between(1, 20);
        let pending = Pending {
            jobmaster: number,
            incarnation,
            shard,
            generation,
            batch,
        };
        self.at(delay, Happening::Commit(Box::new(pending)));
    }

    /// Only for the bugs put in on purpose: lets outputs leave before their commit.
    fn release_early(&mut self, number: usize, shard: ShardId) {
        let early = |output: &Output| match output {
            Output::Reply { .. } => mutant::is(Mutant::AnswerBeforeCommit),
            Output::Ack { .. } => mutant::is(Mutant::AckBeforeCommit),
            Output::Assign { .. } => mutant::is(Mutant::AssignBeforeCommit),
            Output::Cancel { .. } | Output::Stop { .. } => false,
        };
        let Some(owned) = self.owned(number, shard) else { return };
        let outputs = owned.machine.steal_outputs(early);
        if !outputs.is_empty() {
            self.send_outputs(number, shard, outputs);
        }
    }

    fn wake_hungry(&mut self, number: usize) {
        let Some(process) = &self.jobmasters[number].process else {
            return;
        };
        if let Some(shard) = process.credits.next_to_wake() {
            if process.shards.contains_key(&shard) {
                self.turn(number, shard, Input::Wake);
            } else if let Some(process) = &mut self.jobmasters[number].process {
                process.credits.end_turn(shard, crate::shard::Hunger::None);
            }
        }
    }

    pub fn shard_timer(&mut self, number: usize, shard: ShardId, generation: u64) {
        if self.hold(number, || Happening::ShardTimer {
            jobmaster: number,
            shard,
            generation,
        }) {
            return;
        }
        let Some(owned) = self.owned(number, shard).filter(|owned| owned.generation == generation) else {
            return;
        };
        owned.timer_at = None;
        self.turn(number, shard, Input::Timer);
    }

    pub fn load(&mut self, number: usize, shard: ShardId, generation: u64, job: JobId) {
        if self.hold(number, || Happening::Load {
            jobmaster: number,
            shard,
            generation,
            job,
        }) {
            return;
        }
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

    /// The commit reaches the log, whatever has become of its owner meanwhile.
    pub fn commit(&mut self, pending: Box<Pending>) {
        let (lost_before, lost_after) = (self.is_stormy() && self.chance(2), self.is_stormy() && self.chance(2));
        let delay = self.between(0, 10);
        if lost_before {
            return self.at(
                delay,
                Happening::Outcome {
                    pending,
                    outcome: Known::Unknown,
                },
            );
        }
        let Some(log) = self.log.get_mut(&pending.shard) else {
            return;
        };
        let outcome = match log.commit(&pending.batch) {
            LogOutcome::Committed => {
                self.check.committed(pending.shard, &pending.batch.events);
                Known::Committed
            }
            LogOutcome::Fenced => Known::Fenced,
        };
        let outcome = if lost_after { Known::Unknown } else { outcome };
        self.at(delay, Happening::Outcome { pending, outcome });
    }

    pub fn outcome(&mut self, pending: Pending, outcome: Known) {
        let (number, shard) = (pending.jobmaster, pending.shard);
        if self
            .process(number)
            .is_none_or(|process| process.incarnation != pending.incarnation)
        {
            return;
        }
        if self.jobmasters[number].paused {
            let pending = Box::new(pending);
            return self.jobmasters[number]
                .held
                .push(Happening::Outcome { pending, outcome });
        }
        if self
            .owned(number, shard)
            .is_none_or(|owned| owned.generation != pending.generation)
        {
            return;
        }
        let trusted = outcome == Known::Unknown && mutant::is(Mutant::TrustUnknownCommit);
        if outcome != Known::Committed && !trusted {
            self.close_shard(number, shard);
            return self.claim_later(number, shard);
        }
        let now = self.now();
        let upto = crate::domain::Seq(pending.batch.first_seq.0 + pending.batch.events.len() as u64 - 1);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let Some(owned) = process.shards.get_mut(&shard) else {
            return;
        };
        match owned.machine.committed(now, &mut process.credits) {
            Ok(outputs) => self.send_outputs(number, shard, outputs),
            Err(poisoned) => self.check.wrong.push(format!("shard {shard}: {poisoned}")),
        }
        if !pending.batch.snapshots.is_empty()
            && let Some(log) = self.log.get_mut(&shard)
        {
            log.write_snapshots(pending.batch.epoch, upto, pending.batch.snapshots);
            if let Some(owned) = self.owned(number, shard) {
                owned.machine.snapshots_written();
            }
        }
        self.after_turn(number, shard);
        self.wake_reader(shard);
    }

    fn send_outputs(&mut self, number: usize, shard: ShardId, outputs: Vec<Output>) {
        let Some(process) = &self.jobmasters[number].process else {
            return;
        };
        let jobmaster = process.incarnation;
        let Some(epoch) = process.shards.get(&shard).map(|owned| owned.machine.epoch()) else {
            return;
        };
        let mut messages: BTreeMap<Incarnation, Vec<AssignmentItem>> = BTreeMap::new();
        for output in outputs {
            match output {
                Output::Reply { to, result } => {
                    self.check_reply(&result, shard);
                    let reply = Reply {
                        v: Version,
                        node: to.node,
                        correlation: to.correlation,
                        result,
                    };
                    self.send(1, u128::from(shard.0), Happening::Reply(reply));
                }
                Output::Assign {
                    incarnation,
                    assignment,
                    ..
                } => {
                    self.check.assigned(assignment.attempt, incarnation);
                    messages
                        .entry(incarnation)
                        .or_default()
                        .push(AssignmentItem::Assign { assignment });
                }
                Output::Cancel {
                    incarnation, attempt, ..
                } => {
                    messages
                        .entry(incarnation)
                        .or_default()
                        .push(AssignmentItem::Cancel { attempt });
                }
                Output::Stop {
                    incarnation, attempt, ..
                } => {
                    messages
                        .entry(incarnation)
                        .or_default()
                        .push(AssignmentItem::Stop { attempt });
                }
                Output::Ack {
                    incarnation,
                    kind,
                    attempt,
                    ..
                } => {
                    self.check.acknowledged(kind, attempt, incarnation);
                    let attempts = vec![attempt];
                    messages
                        .entry(incarnation)
                        .or_default()
                        .push(AssignmentItem::Ack { kind, attempts });
                }
            }
        }
        for (incarnation, items) in messages {
            let message = message(shard, epoch, jobmaster, incarnation, items);
            // A bus that is full takes no message: what is told to workers must bear that.
            if self.is_stormy() && self.chance(3) {
                continue;
            }
            self.send(
                2,
                jobmaster.0.as_u128() ^ u128::from(shard.0),
                Happening::Assignment(message),
            );
        }
    }

    fn check_reply(&mut self, result: &Result<crate::event::Accepted, crate::domain::Refusal>, shard: ShardId) {
        let Ok(accepted) = result else { return };
        if accepted.position.seq >= self.log[&shard].next_seq() {
            self.check.wrong.push(format!(
                "an answer stands at {:?}, which is not in the log",
                accepted.position
            ));
        }
    }

    pub fn deliver_beat(&mut self, beat: &Beat) {
        let now = self.now();
        for number in 0..self.jobmasters.len() {
            if self.jobmasters[number].paused {
                continue;
            }
            let Some(process) = &mut self.jobmasters[number].process else {
                continue;
            };
            let gone = process.directory.on_beat(beat.clone(), now, &mut process.credits);
            self.tell_gone(number, gone);
            self.wake_hungry(number);
        }
        self.worker_beats(beat);
    }

    fn tell_gone(&mut self, number: usize, gone: Vec<WorkerGone>) {
        for gone in gone {
            for shard in (0..SHARDS).map(ShardId) {
                self.turn(number, shard, Input::WorkerGone(gone));
            }
        }
    }

    pub fn jobmaster_beat(&mut self, number: usize, incarnation: Incarnation) {
        if self.hold(number, || Happening::JobmasterBeat {
            jobmaster: number,
            incarnation,
        }) {
            return;
        }
        let now = self.now();
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        if process.incarnation != incarnation {
            return;
        }
        let gone = process.directory.tick(now, &mut process.credits);
        process.directory.return_credits(&mut process.credits);
        let hungry = process.credits.is_hungry();
        let beat = Beat::Jobmaster(process.directory.beat(now, false, &process.credits));
        self.jobmasters[number].hungry = hungry;
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

    pub fn crash_jobmaster(&mut self, number: usize) {
        if self.jobmasters[number].process.is_none() {
            return;
        }
        self.jobmasters[number] = Jobmaster::default();
        let back = self.between(100, 8_000);
        self.at(back, Happening::StartJobmaster { jobmaster: number });
        self.rebalance();
    }

    /// As by SIGSTOP: it stands still, even in the middle of a commit, and others take over.
    pub fn pause(&mut self, number: usize) {
        if !self.is_member(number) {
            return;
        }
        self.jobmasters[number].paused = true;
        let length = self.between(100, 60_000);
        self.at(length, Happening::Resume { jobmaster: number });
        self.rebalance();
    }

    pub fn resume(&mut self, number: usize) {
        self.jobmasters[number].paused = false;
        for happening in std::mem::take(&mut self.jobmasters[number].held) {
            self.at(0, happening);
        }
        self.rebalance();
    }
}

fn message(
    shard: ShardId,
    epoch: Epoch,
    jobmaster: Incarnation,
    incarnation: Incarnation,
    items: Vec<AssignmentItem>,
) -> AssignmentMessage {
    AssignmentMessage {
        v: Version,
        timeline: TIMELINE,
        shard,
        epoch,
        jobmaster,
        incarnation,
        items,
    }
}
