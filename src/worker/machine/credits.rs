//! Credits: who may send how many assignments.
//!
//! Must stay true: totals only rise while a jobmaster is remembered; what is granted and not yet used, together with
//! what is held, is at most the capacity at the moment of the grant.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::{Incarnation, Timestamp};
use crate::event::{Grant, JobmasterBeat};

/// Dead jobmasters that are remembered, in case one was only silent.
const REMEMBERED_DEAD: usize = 64;

#[derive(Clone, Debug, Default)]
struct Jobmaster {
    /// Whether it beats; while it does not, what it holds counts as free.
    live: bool,
    hungry: bool,
    /// When its last beat was read.
    seen_at: Timestamp,
    /// When its last beat was sent, by its clock: an older one that comes later says nothing.
    sent_at: Timestamp,
    /// Totals.
    granted: u64,
    received: u64,
    returned: u64,
    /// The total that it was last told.
    told: u64,
    /// Rises with every grant: of two that are equally poor, the one who waited longer is served.
    served: u64,
}

impl Jobmaster {
    fn outstanding(&self) -> u64 {
        self.granted.saturating_sub(self.received + self.returned)
    }
}

#[derive(Debug, Default)]
pub(super) struct Credits {
    jobmasters: BTreeMap<Incarnation, Jobmaster>,
    served: u64,
}

impl Credits {
    /// A jobmaster says that it lives. `me`: this worker process.
    pub(super) fn beat(&mut self, beat: &JobmasterBeat, me: Incarnation, now: Timestamp) {
        let jobmaster = self.jobmasters.entry(beat.jobmaster).or_default();
        let mut unwanted = false;
        for totals in beat.returned.iter().filter(|totals| totals.worker == me) {
            unwanted = totals.unwanted;
            jobmaster.returned = jobmaster.returned.max(totals.returned);
            // Assignments that were never sent, or got lost, have used up their credits too.
            jobmaster.received = jobmaster.received.max(totals.used);
        }
        if beat.sent_at < jobmaster.sent_at {
            return;
        }
        jobmaster.sent_at = beat.sent_at;
        jobmaster.seen_at = now;
        jobmaster.live = !beat.leaving;
        // One whose tasks may not run here gains nothing by credits of this worker.
        jobmaster.hungry = beat.hungry && !beat.leaving && !unwanted;
    }

    /// `count` charged assignments of this jobmaster have arrived.
    pub(super) fn received(&mut self, jobmaster: Incarnation, count: u64) {
        if count > 0 {
            self.jobmasters.entry(jobmaster).or_default().received += count;
        }
    }

    /// Forgets the credits of those who were silent too long. Their totals stay for a while: one that comes back still
    /// has what it was granted.
    pub(super) fn expire(&mut self, silence: Duration, now: Timestamp) {
        let mut dead = 0;
        for jobmaster in self.jobmasters.values_mut() {
            if jobmaster.live && now.since(jobmaster.seen_at) > silence {
                jobmaster.live = false;
                jobmaster.hungry = false;
            }
            dead += usize::from(!jobmaster.live);
        }
        while dead > REMEMBERED_DEAD {
            let dead_ones = self.jobmasters.iter().filter(|(_, jobmaster)| !jobmaster.live);
            let longest = dead_ones
                .min_by_key(|(id, jobmaster)| (jobmaster.seen_at, **id))
                .map(|(id, _)| *id);
            let Some(longest) = longest else { return };
            self.jobmasters.remove(&longest);
            dead -= 1;
        }
    }

    /// Credits that live jobmasters have and have not used.
    pub(super) fn outstanding(&self) -> u64 {
        self.jobmasters
            .values()
            .filter(|jobmaster| jobmaster.live)
            .map(Jobmaster::outstanding)
            .sum()
    }

    pub(super) fn live(&self) -> usize {
        self.jobmasters.values().filter(|jobmaster| jobmaster.live).count()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.jobmasters.len()
    }

    /// Grants what is free: to the hungry when there are any, else to all that live; to the poorest first.
    ///
    /// Prefetch is only for the hungry: credits that lie about would bring a later job of long tasks to one worker.
    pub(super) fn grant(&mut self, slots: u64, prefetch: u64, held: u64) {
        let hungry = self.jobmasters.values().any(|jobmaster| jobmaster.hungry);
        let capacity = if hungry { slots + prefetch } else { slots };
        let mut free = capacity.saturating_sub(held + self.outstanding());
        if free == 0 {
            return;
        }
        let mut eligible: Vec<&mut Jobmaster> = self
            .jobmasters
            .values_mut()
            .filter(|jobmaster| jobmaster.live && jobmaster.hungry == hungry)
            .collect();
        eligible.sort_by_key(|jobmaster| (jobmaster.outstanding(), jobmaster.served));
        // The poorest are raised to the level of the next one, until nothing is left.
        for count in 1..=eligible.len() {
            if free == 0 {
                return;
            }
            let level = eligible[count - 1].outstanding();
            let room = eligible.get(count).map_or(u64::MAX, |next| next.outstanding() - level);
            let shared = free.min(room.saturating_mul(count as u64));
            let (each, more) = (shared / count as u64, shared % count as u64);
            for (place, jobmaster) in eligible[..count].iter_mut().enumerate() {
                let share = each + u64::from((place as u64) < more);
                if share > 0 {
                    self.served += 1;
                    jobmaster.served = self.served;
                    jobmaster.granted += share;
                }
            }
            free -= shared;
        }
    }

    /// What every live jobmaster may be told.
    pub(super) fn grants(&self) -> Vec<Grant> {
        let live = self.jobmasters.iter().filter(|(_, jobmaster)| jobmaster.live);
        live.map(|(id, jobmaster)| Grant {
            jobmaster: *id,
            granted: jobmaster.granted,
        })
        .collect()
    }

    /// A message with all grants goes to this one.
    pub(super) fn told(&mut self, jobmaster: Incarnation) {
        if let Some(jobmaster) = self.jobmasters.get_mut(&jobmaster) {
            jobmaster.told = jobmaster.granted;
        }
    }

    pub(super) fn told_all(&mut self) {
        for jobmaster in self.jobmasters.values_mut() {
            jobmaster.told = jobmaster.granted;
        }
    }

    /// Those who do not know yet what they were granted.
    pub(super) fn untold(&self) -> impl Iterator<Item = Incarnation> + '_ {
        let untold = self
            .jobmasters
            .iter()
            .filter(|(_, jobmaster)| jobmaster.live && jobmaster.told != jobmaster.granted);
        untold.map(|(id, _)| *id)
    }
}

/// How many attempts ended within the last 50 ms: about what a round trip to the shard needs to be bridged.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Ends by millisecond, oldest first.
    ends: std::collections::VecDeque<(Timestamp, u64)>,
    sum: u64,
}

impl Pace {
    const WINDOW: Duration = Duration::from_millis(50);

    pub(super) fn ended(&mut self, now: Timestamp) {
        self.sum += 1;
        match self.ends.back_mut() {
            Some((at, count)) if *at == now => *count += 1,
            _ => self.ends.push_back((now, 1)),
        }
    }

    pub(super) fn recent(&mut self, now: Timestamp) -> u64 {
        while let Some((at, count)) = self.ends.front().copied() {
            if now.since(at) <= Self::WINDOW {
                break;
            }
            self.sum -= count;
            self.ends.pop_front();
        }
        self.sum
    }
}
