//! The consumer group in the simulated world: which jobmaster owns which shard.

use super::jobmaster::Process;
use super::world::{Happening, SHARDS, World};
use crate::domain::ShardId;

impl World {
    /// The group gives every shard without a living owner to one.
    pub fn rebalance(&mut self) {
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

    pub fn is_member(&self, number: usize) -> bool {
        let jobmaster = &self.jobmasters[number];
        jobmaster.process.is_some() && !jobmaster.paused
    }

    pub fn process(&self, number: usize) -> Option<&Process> {
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

    /// A member claims what it was given, a little later.
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

    pub fn close_shard(&mut self, number: usize, shard: ShardId) {
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        process.publisher.machine.disown(shard);
        if process.shards.remove(&shard).is_some() {
            self.trace(|| format!("jm{number} shard {shard}: closed"));
        }
    }
}
