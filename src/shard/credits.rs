//! Credits: how many attempts each worker will still take from this process, shared by all its shards.
//!
//! Must stay true: a charged assignment is never staged without taking a credit; totals only rise, and
//! one that was used in vain (its assignment was thrown away, or lost on the way) comes back by the worker, who is told
//! the totals; a shard that waits gets its turn before one that has just had one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::domain::{Incarnation, Labels, ShardId, WorkerName, has_labels};
use crate::event::ReturnedCredits;

/// What is known of one worker process, as far as placing goes.
#[derive(Clone, Debug)]
struct WorkerCredits {
    name: WorkerName,
    labels: Labels,
    /// Cumulative, as the worker says.
    granted: u64,
    /// Cumulative: charged assignments, and credits given back to the worker.
    used: u64,
    returned: u64,
    /// Alive, not draining and not cordoned.
    placeable: bool,
}

impl WorkerCredits {
    fn available(&self) -> u64 {
        if self.placeable {
            let used = if mutant!(Overbooking) { 0 } else { self.used };
            self.granted.saturating_sub(used + self.returned)
        } else {
            0
        }
    }

    fn has(&self, required: &Labels) -> bool {
        has_labels(&self.labels, required)
    }
}

/// A shard that has READY tasks and no credit for them.
#[derive(Clone, Debug)]
struct Waiting {
    shard: ShardId,
    /// The state of the pool in which it found nothing fit; `None`: it has not seen all there is.
    tried: Option<u64>,
    /// It was told that it is its turn, and has not had it yet.
    woken: bool,
    wants: Wants,
}

/// What the READY tasks of a shard ask of a worker: the labels of each kind of them. `None`: of some, nothing, or they
/// are too many to be told apart.
pub type Wants = Option<Vec<Labels>>;

/// How a shard ends its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hunger {
    /// No READY task waits for a credit.
    None,
    /// Its part was used up.
    Quota(Wants),
    /// No credit fits the tasks that wait.
    Unfit(Wants),
}

/// The credits of all workers, and the shards that wait for one.
#[derive(Clone, Debug, Default)]
pub struct CreditPool {
    workers: BTreeMap<Incarnation, WorkerCredits>,
    /// Grants that came before the worker was introduced.
    early: BTreeMap<Incarnation, u64>,
    last_picked: Option<Incarnation>,
    waiting: VecDeque<Waiting>,
    /// Rises whenever credits are added or workers change.
    generation: u64,
}

/// What a task asks of its worker.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub requires: &'a Labels,
    /// Not this one, if another has room.
    pub avoid: Option<Incarnation>,
}

impl CreditPool {
    /// A worker process takes part from now on, or changes.
    pub fn introduce(&mut self, incarnation: Incarnation, name: &WorkerName, labels: &Labels, placeable: bool) {
        let early = self.early.remove(&incarnation).unwrap_or(0);
        let worker = self.workers.entry(incarnation).or_insert_with(|| WorkerCredits {
            name: name.clone(),
            labels: labels.clone(),
            granted: early,
            used: 0,
            returned: 0,
            placeable: false,
        });
        if worker.placeable != placeable || worker.labels != *labels || early > 0 {
            worker.placeable = placeable;
            worker.labels.clone_from(labels);
            self.generation += 1;
        }
    }

    /// The worker process is gone.
    pub fn remove(&mut self, incarnation: Incarnation) {
        self.early.remove(&incarnation);
        if self.workers.remove(&incarnation).is_some() {
            self.generation += 1;
        }
    }

    /// The worker lets this process send `granted` charged assignments in all. A lower one than before came late.
    pub fn grant(&mut self, incarnation: Incarnation, granted: u64) {
        match self.workers.get_mut(&incarnation) {
            Some(worker) if granted > worker.granted => {
                worker.granted = granted;
                self.generation += 1;
            }
            Some(_) => {}
            None => {
                let early = self.early.entry(incarnation).or_default();
                *early = granted.max(*early);
            }
        }
    }

    /// Credits that can be used now.
    pub fn available(&self) -> u64 {
        self.workers.values().map(WorkerCredits::available).sum()
    }

    /// How many assignments `shard` may make in this turn: a fair part when others wait that may want them.
    pub fn begin_turn(&mut self, shard: ShardId) -> u64 {
        let available = self.available();
        let interested = |waiting: &&Waiting| waiting.tried != Some(self.generation);
        let mut others = self
            .waiting
            .iter()
            .filter(interested)
            .filter(|waiting| waiting.shard != shard)
            .count() as u64;
        if available == 0 || others == 0 {
            return available;
        }
        others += 1;
        let first = self
            .waiting
            .iter()
            .find(interested)
            .is_some_and(|waiting| waiting.shard == shard);
        if first {
            available.div_ceil(others)
        } else {
            available / others
        }
    }

    /// The shard's turn is over.
    pub fn end_turn(&mut self, shard: ShardId, hunger: Hunger) {
        self.waiting.retain(|waiting| waiting.shard != shard);
        let (tried, wants) = match hunger {
            Hunger::None => return,
            Hunger::Quota(wants) => (None, wants),
            Hunger::Unfit(wants) => (Some(self.generation), wants),
        };
        self.waiting.push_back(Waiting {
            shard,
            tried,
            woken: false,
            wants,
        });
    }

    /// The shard whose turn it is, when something has changed for it since it last looked and it was not yet told: one
    /// that is told again and again while it is busy would tell the next ones as often, and nobody would come to work.
    /// `me` needs no telling.
    pub fn next_to_wake(&mut self, me: Option<ShardId>) -> Option<ShardId> {
        if self.waiting.is_empty() || self.available() == 0 {
            return None;
        }
        let generation = self.generation;
        let next = self
            .waiting
            .iter_mut()
            .find(|waiting| waiting.tried != Some(generation))?;
        if Some(next.shard) == me || std::mem::replace(&mut next.woken, true) {
            return None;
        }
        Some(next.shard)
    }

    /// Whether any shard waits.
    pub fn is_hungry(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether some task that waits may run on the worker.
    fn is_wanted(&self, worker: &WorkerCredits) -> bool {
        let fits = |labels: &Labels| worker.has(labels);
        self.waiting
            .iter()
            .any(|waiting| waiting.wants.as_ref().is_none_or(|wants| wants.iter().any(fits)))
    }

    /// The workers whose credits are of no use to the tasks that wait.
    fn unwanted(&self) -> Vec<Incarnation> {
        if self.waiting.iter().any(|waiting| waiting.wants.is_none()) {
            return Vec::new();
        }
        let unwanted = self.workers.iter().filter(|(_, worker)| !self.is_wanted(worker));
        unwanted.map(|(incarnation, _)| *incarnation).collect()
    }

    /// Who is hungry, and for whom not: something else whenever workers should hear of it.
    pub fn hunger(&self) -> (bool, Vec<Incarnation>) {
        let hungry = self.is_hungry();
        (hungry, if hungry { self.unwanted() } else { Vec::new() })
    }

    /// Takes one credit: workers in turn, only those with the labels, another than `avoid` when there is room.
    pub fn take(&mut self, wanted: Wanted<'_>) -> Option<(WorkerName, Incarnation)> {
        let picked = self.pick(wanted, true).or_else(|| self.pick(wanted, false))?;
        self.last_picked = Some(picked);
        let worker = self.workers.get_mut(&picked)?;
        worker.used += 1;
        Some((worker.name.clone(), picked))
    }

    fn pick(&self, wanted: Wanted<'_>, avoiding: bool) -> Option<Incarnation> {
        let fits = |(incarnation, worker): &(&Incarnation, &WorkerCredits)| {
            worker.available() > 0 && !(avoiding && wanted.avoid == Some(**incarnation)) && worker.has(wanted.requires)
        };
        let after = self.last_picked.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.workers.range((after, Bound::Unbounded));
        rest.chain(self.workers.iter())
            .find(fits)
            .map(|(incarnation, _)| *incarnation)
    }

    /// Gives back a credit that was taken in the same turn and not used.
    pub fn put_back(&mut self, incarnation: Incarnation) {
        if let Some(worker) = self.workers.get_mut(&incarnation) {
            worker.used = worker.used.saturating_sub(1);
            self.generation += 1;
        }
    }

    /// Returns to the workers the credits for which nothing waits, or only what cannot run there; the next beat tells
    /// them.
    pub fn return_unwanted(&mut self) {
        for incarnation in self.unwanted() {
            if let Some(worker) = self.workers.get_mut(&incarnation) {
                worker.returned += worker.granted.saturating_sub(worker.used + worker.returned);
            }
        }
    }

    /// What became of the credits of each worker, for the beats: so that those that were used in vain come back.
    pub fn totals(&self) -> Vec<ReturnedCredits> {
        let totals = |(incarnation, worker): (&Incarnation, &WorkerCredits)| ReturnedCredits {
            worker: *incarnation,
            returned: worker.returned,
            used: if mutant!(LostCredits) { 0 } else { worker.used },
            unwanted: self.is_hungry() && !self.is_wanted(worker),
        };
        self.workers.iter().map(totals).collect()
    }

    /// Credits of one worker process, whether it may be placed on or not.
    pub fn of(&self, incarnation: Incarnation) -> u64 {
        let left = |worker: &WorkerCredits| worker.granted.saturating_sub(worker.used + worker.returned);
        self.workers.get(&incarnation).map_or(0, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn incarnation(number: u128) -> Incarnation {
        Incarnation(Uuid::from_u128(number))
    }

    fn pool(grants: &[(u128, u64)]) -> CreditPool {
        let mut pool = CreditPool::default();
        for (number, granted) in grants {
            let name = format!("w{number}").parse().unwrap();
            pool.introduce(incarnation(*number), &name, &Labels::new(), true);
            pool.grant(incarnation(*number), *granted);
        }
        pool
    }

    fn take(pool: &mut CreditPool, avoid: Option<u128>) -> Option<u128> {
        let requires = Labels::new();
        let wanted = Wanted {
            requires: &requires,
            avoid: avoid.map(incarnation),
        };
        pool.take(wanted).map(|(_, incarnation)| incarnation.0.as_u128())
    }

    #[test]
    fn workers_take_turns_and_no_credit_is_used_twice() {
        let mut pool = pool(&[(1, 2), (2, 1)]);
        let taken: Vec<_> = (0..4).map(|_| take(&mut pool, None)).collect();
        assert_eq!(taken, [Some(1), Some(2), Some(1), None]);
        pool.grant(incarnation(1), 2);
        assert_eq!(take(&mut pool, None), None, "a repeated grant adds nothing");
        pool.put_back(incarnation(2));
        assert_eq!(
            take(&mut pool, Some(2)),
            Some(2),
            "the avoided one when no other has room"
        );
    }

    #[test]
    fn a_waiting_shard_is_not_starved() {
        let mut pool = pool(&[(1, 0)]);
        let (a, b) = (ShardId(0), ShardId(1));
        pool.end_turn(a, Hunger::Unfit(None));
        pool.end_turn(b, Hunger::Unfit(None));
        pool.grant(incarnation(1), 1);
        assert_eq!(pool.next_to_wake(Some(a)), None, "whose turn it is already");
        assert_eq!(pool.next_to_wake(None), Some(a));
        assert_eq!(pool.begin_turn(b), 0, "b waits behind a");
        pool.end_turn(b, Hunger::Quota(None));
        assert_eq!(pool.next_to_wake(Some(b)), None, "a was told");
        assert_eq!(pool.begin_turn(a), 1);
        take(&mut pool, None).unwrap();
        pool.end_turn(a, Hunger::Quota(None));
        pool.grant(incarnation(1), 2);
        assert_eq!(pool.next_to_wake(None), Some(b));
        pool.end_turn(b, Hunger::Unfit(None));
        assert_eq!(pool.next_to_wake(None), Some(a), "b found nothing fit for it");
        assert_eq!(pool.begin_turn(a), 1, "b does not want it");
        pool.end_turn(a, Hunger::Unfit(None));
        assert_eq!(pool.next_to_wake(None), None, "no storm while nothing changes");
    }

    #[test]
    fn credits_for_which_only_others_wait_are_given_back() {
        let mut pool = pool(&[(1, 2), (2, 3)]);
        let zone: Labels = [("zone".to_owned(), "a".to_owned())].into();
        pool.introduce(incarnation(2), &"w2".parse().unwrap(), &zone, true);
        let credits = |pool: &CreditPool| (pool.of(incarnation(1)), pool.of(incarnation(2)));
        pool.end_turn(ShardId(0), Hunger::Quota(None));
        pool.return_unwanted();
        assert_eq!(credits(&pool), (2, 3), "who takes any may need each");
        assert_eq!(pool.hunger(), (true, Vec::new()));
        for hunger in [Hunger::Quota, Hunger::Unfit] {
            pool.end_turn(ShardId(0), hunger(Some(vec![zone.clone()])));
            assert_eq!(pool.hunger(), (true, vec![incarnation(1)]));
        }
        pool.return_unwanted();
        assert_eq!(credits(&pool), (0, 3), "the first worker has not what is asked for");
        let said: Vec<_> = pool.totals().iter().map(|it| (it.returned, it.unwanted)).collect();
        assert_eq!(said, [(2, true), (0, false)]);
        pool.end_turn(ShardId(0), Hunger::None);
        pool.return_unwanted();
        assert_eq!(credits(&pool), (0, 0), "nobody waits");
        assert!(
            pool.totals().iter().all(|it| !it.unwanted),
            "who is not hungry need not say for whom"
        );
    }
}
