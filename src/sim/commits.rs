//! Commits in the simulated world: they take time, happen whatever has become of who asked for them, and their outcome
//! may stay unknown.

use super::log::Outcome as LogOutcome;
use super::mutant::{self, Mutant};
use super::publisher::items;
use super::trace;
use super::world::{Happening, Known, World};
use crate::domain::{Incarnation, Seq, ShardId};
use crate::shard::{Batch, Output};

/// A commit under way.
#[derive(Debug)]
pub struct Pending {
    pub jobmaster: usize,
    pub incarnation: Incarnation,
    pub shard: ShardId,
    pub generation: u64,
    pub batch: Batch,
    /// The publisher's cursor, as of its beginning.
    published: Option<Seq>,
}

impl World {
    pub fn take_batch(&mut self, number: usize, shard: ShardId, generation: u64, incarnation: Incarnation) {
        let Some(owned) = self.owned(number, shard) else { return };
        let Some(batch) = owned.machine.take() else { return };
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let published = process.publisher.machine.published(shard);
        if mutant::is(Mutant::PublishBeforeCommit) {
            self.feed_publisher(number, shard, &batch);
        }
        let delay = self.between(1, 20);
        let pending = Pending {
            jobmaster: number,
            incarnation,
            shard,
            generation,
            batch,
            published,
        };
        self.at(delay, Happening::Commit(Box::new(pending)));
    }

    /// What was committed goes to the publisher of the process.
    fn feed_publisher(&mut self, number: usize, shard: ShardId, batch: &Batch) {
        if let Some(process) = &mut self.jobmasters[number].process {
            let items = items(batch.first_seq, &batch.events);
            process.publisher.machine.feed(shard, batch.epoch, items);
            self.publish(number);
        }
    }

    /// Only for the bugs put in on purpose: lets outputs leave before their commit.
    pub fn release_early(&mut self, number: usize, shard: ShardId) {
        let early = |output: &Output| match output {
            Output::Reply { .. } | Output::Tell { .. } => mutant::is(Mutant::AnswerBeforeCommit),
            Output::Ack { .. } => mutant::is(Mutant::AckBeforeCommit),
            Output::Assign { .. } => mutant::is(Mutant::AssignBeforeCommit),
            Output::Cancel { .. } | Output::Stop { .. } | Output::Standing { .. } => false,
        };
        let Some(owned) = self.owned(number, shard) else { return };
        let outputs = owned.machine.steal_outputs(early);
        if !outputs.is_empty() {
            self.send_outputs(number, shard, outputs);
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
                log.published = log.published.max(pending.published.unwrap_or_default());
                self.check.committed(pending.shard, &pending.batch.events);
                Known::Committed
            }
            LogOutcome::Fenced => Known::Fenced,
        };
        self.trace(|| {
            let events: Vec<_> = pending.batch.events.iter().map(trace::event).collect();
            format!(
                "jm{} shard {} commits at {} in epoch {}: {outcome:?}, known: {}\n    {}",
                pending.jobmaster,
                pending.shard,
                pending.batch.first_seq,
                pending.batch.epoch,
                !lost_after,
                events.join("\n    ")
            )
        });
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
        let now = self.jobmaster_now(number);
        let upto = Seq(pending.batch.first_seq.0 + pending.batch.events.len() as u64 - 1);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let Some(owned) = process.shards.get_mut(&shard) else {
            return;
        };
        match owned.machine.committed(now, &mut process.credits) {
            Ok(outputs) => {
                self.feed_publisher(number, shard, &pending.batch);
                self.send_outputs(number, shard, outputs);
            }
            Err(poisoned) => self.check.wrong.push(format!("shard {shard}: {poisoned}")),
        }
        if self.owned(number, shard).is_none() {
            return;
        }
        if pending.batch.round
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
}
