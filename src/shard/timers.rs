//! Timers: a heap of 32-byte entries with lazy deletion. One that was replaced strikes too and is found stale.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::domain::{JobId, Timestamp};

/// A timer's identity: what set it. Ordered by time first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    pub due: Timestamp,
    pub job: JobId,
    /// 0: the job's deadline.
    pub task: u32,
    /// Version of the event that set it, in the task's (or job's) stream.
    pub version: u32,
}

const _: () = assert!(size_of::<Timer>() == 32);

#[derive(Clone, Debug, Default)]
pub struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    pub fn set(&mut self, timer: Timer) {
        self.0.push(Reverse(timer));
    }

    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse(timer)| timer.due)
    }

    /// The earliest timer that is due, taken out.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next_due()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(timer)| timer)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_million_pending_fit_and_come_in_order() {
        let mut timers = Timers::default();
        for number in 0..1_000_000_u32 {
            let due = Timestamp::from_ms(i64::from(number.wrapping_mul(2_654_435_761) >> 8));
            timers.set(Timer {
                due,
                job: JobId(Uuid::nil()),
                task: number,
                version: 1,
            });
        }
        assert!(timers.0.capacity() * size_of::<Timer>() <= 200 * 1024 * 1024);
        let mut last = Timestamp::ZERO;
        while let Some(timer) = timers.pop_due(Timestamp::from_ms(i64::MAX)) {
            assert!(timer.due >= last);
            last = timer.due;
        }
    }
}
