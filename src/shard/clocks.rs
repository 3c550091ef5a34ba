//! How far the clocks of other machines are from this one's, as their heartbeats tell.
//!
//! A heartbeat is as old as its way was long, so that a clock seems behind by that. Of some heartbeats the one with the
//! shortest way counts, and what this process' own took on the same way is taken off, so that a slow bus is not taken for a
//! wrong clock.
//!
//! Must stay true: whether a worker lives, and what it is given, never hangs on its clock; this only tells of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock;
use crate::domain::{Incarnation, Timestamp};
use crate::event::Beat;

/// Heartbeats of which the best counts.
const WINDOW: usize = 5;
/// Processes that were silent for so long are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Whose clock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Worker,
    Jobmaster,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Worker, Self::Jobmaster];

    /// In metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Worker => "workers",
            Self::Jobmaster => "jobmasters",
        }
    }
}

/// A clock that has begun, or ceased, to differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// The worker's name, or the process of a jobmaster.
    pub of: String,
    /// Ahead of this machine's, or behind when below zero.
    pub ahead_ms: i64,
    pub differs: bool,
}

struct Heard {
    kind: Kind,
    name: String,
    /// Told less read, in milliseconds, the newest last.
    ahead: VecDeque<i64>,
    at: Timestamp,
    differs: bool,
}

#[derive(Default)]
pub(super) struct Clocks {
    others: BTreeMap<Incarnation, Heard>,
    /// What this process' own heartbeats took, in milliseconds.
    own: VecDeque<i64>,
}

fn push(window: &mut VecDeque<i64>, value: i64) {
    if window.len() == WINDOW {
        window.pop_front();
    }
    window.push_back(value);
}

impl Clocks {
    /// Takes in one heartbeat, read now.
    pub fn heard(&mut self, beat: &Beat, me: Incarnation, now: Timestamp) -> Option<News> {
        let (incarnation, kind, told) = match beat {
            Beat::Jobmaster(beat) if beat.jobmaster == me => {
                push(&mut self.own, now.as_ms().saturating_sub(beat.sent_at.as_ms()).max(0));
                return None;
            }
            Beat::Jobmaster(beat) => (beat.jobmaster, Kind::Jobmaster, beat.sent_at),
            Beat::Worker(beat) => (beat.incarnation, Kind::Worker, beat.clock.unwrap_or(beat.sent_at)),
        };
        let own = self.own.iter().copied().max().unwrap_or(0);
        let heard = self.others.entry(incarnation).or_insert_with(|| Heard {
            kind,
            name: match beat {
                Beat::Worker(beat) => beat.worker.to_string(),
                Beat::Jobmaster(beat) => format!("jobmaster {}", beat.jobmaster),
            },
            ahead: VecDeque::with_capacity(WINDOW),
            at: now,
            differs: false,
        });
        heard.at = now;
        push(&mut heard.ahead, told.as_ms().saturating_sub(now.as_ms()));
        heard.judge(own)
    }

    /// Forgets who is silent.
    pub fn tick(&mut self, now: Timestamp) {
        self.others.retain(|_, heard| now.since(heard.at) < FORGET_AFTER);
    }

    /// The one that differs most, in seconds ahead of this machine's; 0: all agree.
    pub fn worst_seconds(&self, kind: Kind) -> f64 {
        let own = self.own.iter().copied().max().unwrap_or(0);
        let of_kind = self.others.values().filter(|heard| heard.kind == kind);
        let worst = of_kind
            .filter_map(|heard| heard.estimate(own))
            .max_by_key(|ahead| ahead.abs());
        worst.unwrap_or(0) as f64 / 1_000.0
    }
}

impl Heard {
    /// How far the clock is ahead, at least; `None`: not known yet.
    fn estimate(&self, own_ms: i64) -> Option<i64> {
        let nearest = self.ahead.iter().copied().max()?;
        if nearest >= 0 {
            // It cannot have been read before it was sent.
            return Some(nearest);
        }
        // One that is behind looks like one whose heartbeats were long under way: only several tell them apart.
        (self.ahead.len() == WINDOW).then_some((nearest + own_ms).min(0))
    }

    fn judge(&mut self, own_ms: i64) -> Option<News> {
        let ahead_ms = self.estimate(own_ms)?;
        let differs = u128::from(ahead_ms.unsigned_abs()) >= clock::AGREE.as_millis();
        (std::mem::replace(&mut self.differs, differs) != differs).then(|| News {
            of: self.name.clone(),
            ahead_ms,
            differs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{JobmasterBeat, Version};
    use uuid::Uuid;

    const ME: Incarnation = Incarnation(Uuid::from_u128(1));
    const OTHER: Incarnation = Incarnation(Uuid::from_u128(2));

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + ms)
    }

    fn beat(of: Incarnation, sent_ms: i64) -> Beat {
        Beat::Jobmaster(JobmasterBeat {
            v: Version,
            jobmaster: of,
            timeline: None,
            sent_at: at(sent_ms),
            hungry: false,
            leaving: false,
            returned: Vec::new(),
        })
    }

    /// Beats of a clock that is ahead by so much, each on its way for so long.
    fn told(clocks: &mut Clocks, ahead_ms: i64, ways_ms: &[i64]) -> Vec<(i64, bool)> {
        let news = ways_ms.iter().zip(0..).filter_map(|(way, number)| {
            let sent = number * 2_000;
            clocks.heard(&beat(OTHER, sent + ahead_ms), ME, at(sent + way))
        });
        news.map(|news| (news.ahead_ms, news.differs)).collect()
    }

    #[test]
    fn a_clock_that_is_ahead_is_told_at_once_and_once() {
        let mut clocks = Clocks::default();
        assert_eq!(told(&mut clocks, 60_000, &[100, 20, 30, 40]), [(59_900, true)]);
        assert!((clocks.worst_seconds(Kind::Jobmaster) - 59.98).abs() < 0.001);
        assert_eq!(clocks.worst_seconds(Kind::Worker), 0.0);
        let right = told(&mut clocks, 0, &[10; 10]);
        assert_eq!(right.len(), 1, "{right:?}");
        assert!(!right[0].1);
    }

    #[test]
    fn a_clock_that_is_behind_is_told_from_heartbeats_that_were_slow() {
        let mut clocks = Clocks::default();
        assert_eq!(told(&mut clocks, 0, &[30_000, 20_000, 10_000, 8_000, 10]), []);
        let mut clocks = Clocks::default();
        assert_eq!(told(&mut clocks, -90_000, &[50, 40, 30, 20, 10]), [(-90_010, true)]);
        // The whole feed is late: so are one's own.
        let mut clocks = Clocks::default();
        for number in 0..5 {
            assert_eq!(
                clocks.heard(&beat(ME, number * 2_000), ME, at(number * 2_000 + 9_000)),
                None
            );
        }
        assert_eq!(told(&mut clocks, 0, &[9_000; 8]), []);
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let mut clocks = Clocks::default();
        told(&mut clocks, 60_000, &[0]);
        clocks.tick(at(59_000));
        assert!(clocks.worst_seconds(Kind::Jobmaster) > 59.0);
        clocks.tick(at(60_000));
        assert_eq!(clocks.worst_seconds(Kind::Jobmaster), 0.0);
    }
}
