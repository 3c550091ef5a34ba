//! Whether the worker is still heard: when to beat, and when it counts as cut off.

use std::time::Duration;

use crate::domain::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// A heartbeat was acknowledged recently enough.
    Heard,
    /// So long ago that the attempts must begin to end, in order to be dead in time.
    Fading,
    /// The attempts must be dead: others may place them again soon.
    CutOff,
}

#[derive(Debug)]
pub(super) struct Liveness {
    interval: Duration,
    /// From the last acknowledged heartbeat until the attempts begin to end, and until they are dead.
    fades_after: Duration,
    dead_after: Duration,
    last_beat: Option<Timestamp>,
    /// When the last acknowledged heartbeat was sent; at first the start.
    heard_at: Timestamp,
}

impl Liveness {
    pub(super) fn new(interval: Duration, grace: Duration, dead_after: Duration, now: Timestamp) -> Self {
        let fades_after = dead_after.saturating_sub(grace);
        Self {
            interval,
            fades_after,
            dead_after,
            last_beat: None,
            heard_at: now,
        }
    }

    pub(super) fn acknowledged(&mut self, sent_at: Timestamp) {
        self.heard_at = self.heard_at.max(sent_at);
    }

    pub(super) fn contact(&self, now: Timestamp) -> Contact {
        let silence = now.since(self.heard_at);
        if mutant!(OutlivesItsTime) {
            return Contact::Heard;
        }
        if silence >= self.dead_after {
            Contact::CutOff
        } else if silence >= self.fades_after {
            Contact::Fading
        } else {
            Contact::Heard
        }
    }

    /// When the contact gets worse if nothing is acknowledged.
    pub(super) fn next_change(&self, fading: bool) -> Timestamp {
        if mutant!(OutlivesItsTime) {
            return self.next_beat();
        }
        self.heard_at + if fading { self.dead_after } else { self.fades_after }
    }

    pub(super) fn beaten(&mut self, now: Timestamp) {
        self.last_beat = Some(now);
    }

    /// When the next heartbeat is due.
    pub(super) fn next_beat(&self) -> Timestamp {
        self.last_beat.map_or(Timestamp::ZERO, |last| last + self.interval)
    }

    /// When a heartbeat may go that is not due yet but says something new.
    pub(super) fn next_extra_beat(&self, gap: Duration) -> Timestamp {
        self.last_beat.map_or(Timestamp::ZERO, |last| last + gap)
    }
}
