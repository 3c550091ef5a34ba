//! Which workers live, as this process hears it: one for all its shards.
//!
//! Must stay true: a worker is called lost only after the whole time of silence was spent with a heartbeat feed that
//! was connected and caught up; a process that was called lost, or replaced, is never placed on again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::credits::CreditPool;
use super::machine::WorkerGone;
use super::placing::Candidate;
use crate::domain::event::WorkerEnd;
use crate::domain::{Incarnation, LossCause, Timestamp, WorkerName};
use crate::event::{Beat, JobmasterBeat, Version, WorkerBeat};

#[derive(Clone, Debug)]
pub struct DirectoryOptions {
    /// This jobmaster process.
    pub jobmaster: Incarnation,
    /// Of the log that it works on: beats of another one are not for it.
    pub timeline: Uuid,
    /// Silence after which a worker gets no new work.
    pub inactive_after: Duration,
    /// Silence after which its attempts are lost.
    pub lost_after: Duration,
    /// The feed is connected while its own beat, as read from it, is younger than this.
    pub feed_fresh_for: Duration,
    /// A standalone holds the lock of its data folder: every worker process older than this one is dead.
    pub dead_before: Option<Incarnation>,
}

/// How a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Active,
    Inactive,
    /// Registered and not heard of yet.
    Pending,
}

/// The live fields of a worker: outside the log.
#[derive(Clone, Debug)]
pub struct LiveWorker {
    pub incarnation: Incarnation,
    pub liveness: Liveness,
    pub heard_at: Timestamp,
    pub beat: WorkerBeat,
}

struct Entry {
    heard_at: Option<Timestamp>,
    /// Silence counts from here.
    lease_from: Timestamp,
    beat: Option<WorkerBeat>,
}

/// The directory as a synchronous machine.
pub struct Directory {
    options: DirectoryOptions,
    workers: BTreeMap<Incarnation, Entry>,
    latest: BTreeMap<WorkerName, Incarnation>,
    gone: BTreeMap<Incarnation, WorkerGone>,
    own_beat_at: Option<Timestamp>,
    others: BTreeMap<Incarnation, Timestamp>,
    /// Somebody works on a later timeline of the log.
    newer: Option<Uuid>,
}

/// How many dead processes are remembered.
const MOST_GONE: usize = 10_000;

impl Directory {
    pub fn new(options: DirectoryOptions) -> Self {
        Self {
            options,
            workers: BTreeMap::new(),
            latest: BTreeMap::new(),
            gone: BTreeMap::new(),
            own_beat_at: None,
            others: BTreeMap::new(),
            newer: None,
        }
    }

    /// The latest timeline that was heard of, when it is later than this one: the log was restored, and whoever works on
    /// this one has to end.
    pub fn newer_timeline(&self) -> Option<Uuid> {
        self.newer
    }

    /// Takes in one heartbeat; gives the worker processes that are dead because of it.
    pub fn on_beat(&mut self, beat: Beat, now: Timestamp, credits: &mut CreditPool) -> Vec<WorkerGone> {
        if let Some(timeline) = beat.timeline()
            && timeline != self.options.timeline
        {
            // What it can do is promised to others, and its silence means nothing here.
            self.newer = self
                .newer
                .max(Some(timeline).filter(|newer| *newer > self.options.timeline));
            return Vec::new();
        }
        match beat {
            Beat::Jobmaster(beat) if beat.jobmaster == self.options.jobmaster => {
                if !self.is_connected(now) {
                    // Silence while nothing could be heard does not count.
                    self.workers.values_mut().for_each(|entry| entry.lease_from = now);
                }
                self.own_beat_at = Some(beat.sent_at);
                Vec::new()
            }
            Beat::Jobmaster(beat) => {
                if beat.leaving {
                    self.others.remove(&beat.jobmaster);
                } else {
                    self.others.insert(beat.jobmaster, now);
                }
                Vec::new()
            }
            Beat::Worker(beat) => self.on_worker_beat(beat, now, credits),
        }
    }

    fn on_worker_beat(&mut self, beat: WorkerBeat, now: Timestamp, credits: &mut CreditPool) -> Vec<WorkerGone> {
        let mut gone = Vec::new();
        let incarnation = beat.incarnation;
        if self.gone.contains_key(&incarnation) {
            return gone;
        }
        match self.latest.get(&beat.worker).copied() {
            Some(latest) if latest > incarnation => return gone,
            Some(latest) if latest < incarnation => gone.extend(self.end(latest, WorkerEnd::Superseded, credits)),
            Some(_) | None => {}
        }
        self.latest.insert(beat.worker.clone(), incarnation);
        if beat.leaving {
            gone.extend(self.end(incarnation, WorkerEnd::Drained, credits));
            return gone;
        }
        credits.introduce(
            incarnation,
            &beat.worker,
            &beat.labels,
            !beat.draining && !beat.cordoned,
        );
        for grant in beat
            .grants
            .iter()
            .filter(|grant| grant.jobmaster == self.options.jobmaster)
        {
            credits.grant(incarnation, grant.granted);
        }
        let entry = Entry {
            heard_at: Some(now),
            lease_from: now,
            beat: Some(beat),
        };
        self.workers.insert(incarnation, entry);
        gone
    }

    /// A shard has attempts on these processes: those of them that are dead are given back, the others watched.
    pub fn watch(&mut self, incarnations: &HashSet<Incarnation>, now: Timestamp) -> Vec<WorkerGone> {
        let mut dead = Vec::new();
        for &incarnation in incarnations {
            if let Some(gone) = self.gone.get(&incarnation) {
                dead.push(*gone);
            } else if self.options.dead_before.is_some_and(|first| incarnation < first) {
                dead.push(WorkerGone {
                    incarnation,
                    cause: LossCause::Restart,
                    end: WorkerEnd::Lost,
                });
            } else {
                let entry = self.workers.entry(incarnation).or_insert(Entry {
                    heard_at: None,
                    lease_from: now,
                    beat: None,
                });
                if entry.heard_at.is_none() {
                    entry.lease_from = now;
                }
            }
        }
        dead.sort_unstable_by_key(|gone| gone.incarnation);
        dead
    }

    /// Time has passed; gives the processes that are lost now.
    pub fn tick(&mut self, now: Timestamp, credits: &mut CreditPool) -> Vec<WorkerGone> {
        self.others
            .retain(|_, heard_at| now.since(*heard_at) < self.options.inactive_after);
        if !self.is_connected(now) {
            return Vec::new();
        }
        let mut lost = Vec::new();
        for (incarnation, entry) in &self.workers {
            let silent = now.since(entry.lease_from);
            if silent >= self.options.lost_after {
                lost.push(*incarnation);
            } else if silent >= self.options.inactive_after
                && let Some(beat) = &entry.beat
            {
                credits.introduce(*incarnation, &beat.worker, &beat.labels, false);
            }
        }
        lost.into_iter()
            .filter_map(|incarnation| self.end(incarnation, WorkerEnd::Lost, credits))
            .collect()
    }

    fn end(&mut self, incarnation: Incarnation, end: WorkerEnd, credits: &mut CreditPool) -> Option<WorkerGone> {
        credits.remove(incarnation);
        self.workers.remove(&incarnation);
        let gone = WorkerGone {
            incarnation,
            cause: LossCause::Lost,
            end,
        };
        if self.gone.len() >= MOST_GONE {
            self.gone.pop_first();
        }
        self.gone.insert(incarnation, gone).is_none().then_some(gone)
    }

    /// Whether silence means something: this process reads its own beats, and they are young.
    pub fn is_connected(&self, now: Timestamp) -> bool {
        mutant!(DeafSilence)
            || self
                .own_beat_at
                .is_some_and(|sent_at| now.since(sent_at) < self.options.feed_fresh_for)
    }

    /// Whether other jobmasters may want the credits held here.
    pub fn has_company(&self) -> bool {
        !self.others.is_empty()
    }

    /// Gives the workers back what this process does not need, when another may.
    pub fn return_credits(&self, credits: &mut CreditPool) {
        if self.has_company() {
            credits.return_unwanted();
        }
    }

    /// The beat of this process.
    pub fn beat(&self, now: Timestamp, leaving: bool, credits: &CreditPool) -> JobmasterBeat {
        JobmasterBeat {
            v: Version,
            jobmaster: self.options.jobmaster,
            timeline: Some(self.options.timeline),
            sent_at: now,
            hungry: credits.is_hungry(),
            leaving,
            returned: credits.totals(),
        }
    }

    /// All processes that are heard, for explaining.
    pub fn candidates(&self, now: Timestamp, credits: &CreditPool) -> Vec<Candidate> {
        let candidate = |(name, incarnation): (&WorkerName, &Incarnation)| {
            let live = self.live(name, now)?;
            Some(Candidate {
                worker: name.clone(),
                incarnation: *incarnation,
                labels: live.beat.labels,
                liveness: live.liveness,
                heard_at: live.heard_at,
                draining: live.beat.draining,
                cordoned: live.beat.cordoned,
                running: live.beat.running,
                queued: live.beat.queued,
                max_capacity: live.beat.max_capacity,
                credits: credits.of(*incarnation),
            })
        };
        self.latest.iter().filter_map(candidate).collect()
    }

    /// The processes that are not silent, and the addresses of their endpoints.
    pub fn endpoints(&self, now: Timestamp) -> BTreeMap<WorkerName, String> {
        let endpoint = |(name, incarnation): (&WorkerName, &Incarnation)| {
            let entry = self.workers.get(incarnation)?;
            let heard = now.since(entry.heard_at?) < self.options.lost_after;
            heard.then(|| Some((name.clone(), entry.beat.as_ref()?.endpoint_url.clone())))?
        };
        self.latest.iter().filter_map(endpoint).collect()
    }

    /// The live fields of the process that bears the name.
    pub fn live(&self, name: &WorkerName, now: Timestamp) -> Option<LiveWorker> {
        let incarnation = *self.latest.get(name)?;
        let entry = self.workers.get(&incarnation)?;
        let (beat, heard_at) = (entry.beat.clone()?, entry.heard_at?);
        let silent = now.since(heard_at);
        let liveness = if silent < self.options.inactive_after {
            Liveness::Active
        } else {
            Liveness::Inactive
        };
        Some(LiveWorker {
            incarnation,
            liveness,
            heard_at,
            beat,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Labels;

    const TIMELINE: Uuid = Uuid::from_u128(7);

    fn incarnation(number: u128) -> Incarnation {
        Incarnation(Uuid::from_u128(number))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + seconds * 1_000)
    }

    fn directory() -> Directory {
        Directory::new(DirectoryOptions {
            jobmaster: incarnation(1),
            timeline: TIMELINE,
            inactive_after: Duration::from_secs(6),
            lost_after: Duration::from_secs(45),
            feed_fresh_for: Duration::from_secs(4),
            dead_before: None,
        })
    }

    fn beat(number: u128, sent_at: Timestamp) -> Beat {
        Beat::Worker(WorkerBeat {
            v: Version,
            worker: "w".parse().unwrap(),
            incarnation: incarnation(number),
            timeline: None,
            sent_at,
            clock: None,
            endpoint_url: String::new(),
            max_capacity: 1,
            running: 0,
            queued: 0,
            labels: Labels::new(),
            draining: false,
            cordoned: false,
            leaving: false,
            cpu_cores: 0.0,
            memory_bytes: 0,
            grants: Vec::new(),
        })
    }

    fn own(directory: &mut Directory, credits: &mut CreditPool, second: i64) {
        let own = Beat::Jobmaster(directory.beat(at(second), false, credits));
        assert_eq!(directory.on_beat(own, at(second), credits), []);
    }

    #[test]
    fn silence_counts_only_while_the_feed_is_connected() {
        let (mut directory, mut credits) = (directory(), CreditPool::default());
        own(&mut directory, &mut credits, 0);
        directory.on_beat(beat(10, at(0)), at(0), &mut credits);
        for second in 0..40 {
            own(&mut directory, &mut credits, second);
            assert_eq!(directory.tick(at(second), &mut credits), []);
        }
        // The feed is away from 40 to 60.
        assert_eq!(directory.tick(at(60), &mut credits), []);
        for second in 60..105 {
            own(&mut directory, &mut credits, second);
            assert_eq!(directory.tick(at(second), &mut credits), [], "{second}");
        }
        own(&mut directory, &mut credits, 105);
        let lost = directory.tick(at(105), &mut credits);
        assert_eq!(
            lost,
            [WorkerGone {
                incarnation: incarnation(10),
                cause: LossCause::Lost,
                end: WorkerEnd::Lost
            }]
        );
        let late = directory.on_beat(beat(10, at(106)), at(106), &mut credits);
        assert_eq!(late, []);
        assert!(
            directory.live(&"w".parse().unwrap(), at(106)).is_none(),
            "a lost process does not come back"
        );
        assert_eq!(directory.watch(&HashSet::from([incarnation(10)]), at(107)).len(), 1);
    }

    #[test]
    fn workers_of_another_timeline_are_not_heard_and_a_later_one_is_noticed() {
        let (mut directory, mut credits) = (directory(), CreditPool::default());
        let of = |number, timeline| match beat(number, at(0)) {
            Beat::Worker(beat) => Beat::Worker(WorkerBeat {
                timeline: Some(timeline),
                ..beat
            }),
            other @ Beat::Jobmaster(_) => other,
        };
        directory.on_beat(of(10, Uuid::from_u128(6)), at(0), &mut credits);
        assert_eq!(directory.newer_timeline(), None, "an earlier one is of no interest");
        directory.on_beat(of(11, Uuid::from_u128(8)), at(0), &mut credits);
        assert_eq!(directory.newer_timeline(), Some(Uuid::from_u128(8)));
        assert!(directory.live(&"w".parse().unwrap(), at(0)).is_none());
        directory.on_beat(of(9, TIMELINE), at(0), &mut credits);
        let live = directory.live(&"w".parse().unwrap(), at(0));
        assert_eq!(live.map(|live| live.incarnation), Some(incarnation(9)));
    }

    #[test]
    fn the_newer_process_of_a_name_ends_the_older() {
        let (mut directory, mut credits) = (directory(), CreditPool::default());
        directory.on_beat(beat(10, at(0)), at(0), &mut credits);
        let gone = directory.on_beat(beat(11, at(1)), at(1), &mut credits);
        assert_eq!(gone.len(), 1);
        assert_eq!(
            (gone[0].incarnation, gone[0].end),
            (incarnation(10), WorkerEnd::Superseded)
        );
        assert_eq!(directory.on_beat(beat(10, at(2)), at(2), &mut credits), []);
    }
}
