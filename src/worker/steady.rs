//! The worker's clock: begins with the machine's, and from then on never jumps.
//!
//! Whether the worker is cut off is judged by it, so a clock that is set back must not let attempts live on, and one
//! that is set forward must not end them.

use std::time::Instant;

use crate::clock;
use crate::domain::Timestamp;

#[derive(Clone, Copy, Debug)]
pub(super) struct SteadyClock {
    base: Timestamp,
    since: Instant,
}

impl SteadyClock {
    pub(super) fn start() -> Self {
        Self {
            base: clock::now(),
            since: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.base + self.since.elapsed()
    }
}
