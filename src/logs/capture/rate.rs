//! How much one attempt may write to the log: lines and bytes a second, with a store for bursts.

use crate::domain::Timestamp;

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub lines_per_second: u32,
    pub bytes_per_second: u32,
    /// So many seconds' worth may come at once.
    pub burst_seconds: u32,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass {
        /// Lines dropped since the last one that passed.
        dropped_before: u64,
    },
    Drop,
}

#[derive(Debug)]
pub struct Limit {
    rate: Rate,
    /// Thousandths, so that whole numbers do.
    lines: u64,
    bytes: u64,
    at: Option<Timestamp>,
    dropped: u64,
}

impl Limit {
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            lines: 0,
            bytes: 0,
            at: None,
            dropped: 0,
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    fn fill(&mut self, now: Timestamp) {
        let Rate {
            lines_per_second,
            bytes_per_second,
            burst_seconds,
        } = self.rate;
        let burst_ms = u64::from(burst_seconds) * 1_000;
        let passed_ms = match self.at {
            Some(before) => u64::try_from(now.since(before).as_millis()).unwrap_or(burst_ms),
            None => burst_ms,
        };
        let passed_ms = passed_ms.min(burst_ms);
        let filled = |before: u64, per_second: u32| {
            let most = u64::from(per_second) * burst_ms;
            (before + u64::from(per_second) * passed_ms).min(most)
        };
        self.lines = filled(self.lines, lines_per_second);
        self.bytes = filled(self.bytes, bytes_per_second);
        self.at = Some(self.at.map_or(now, |before| before.max(now)));
    }

    pub fn allows(&mut self, now: Timestamp, bytes: usize) -> Verdict {
        self.fill(now);
        let cost = bytes as u64 * 1_000;
        if self.lines < 1_000 || self.bytes < cost {
            self.dropped += 1;
            return Verdict::Drop;
        }
        self.lines -= 1_000;
        self.bytes -= cost;
        Verdict::Pass {
            dropped_before: std::mem::take(&mut self.dropped),
        }
    }

    /// How many were dropped and not told of yet.
    pub fn told(&mut self, now: Timestamp) -> Option<u64> {
        self.fill(now);
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then_some(dropped)
    }
}
