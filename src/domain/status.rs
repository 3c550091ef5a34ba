//! A job's status, derived from its counters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FailureReason;

/// The status of a job, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    Empty,
    Running,
    Completed,
    Failed,
    Timeout,
    Mixed,
}

impl JobStatus {
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Timeout,
        Self::Mixed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Timeout => "TIMEOUT",
            Self::Mixed => "MIXED",
        }
    }
}

/// How many tasks of a job are in each state, how many of the failed ones wait for a retry, and why the others failed.
///
/// `ready + scheduled + running + completed + failed` is the number of tasks; a task waiting for its retry is failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    pub ready: u32,
    pub scheduled: u32,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
    pub retries_pending: u32,
    /// Finally failed tasks by reason, in the order of [`FailureReason::ALL`].
    pub finally_failed: [u32; 8],
}

impl Counters {
    pub const fn tasks(&self) -> u32 {
        self.ready + self.scheduled + self.running + self.completed + self.failed
    }

    pub const fn unfinished(&self) -> u32 {
        self.ready + self.scheduled + self.running + self.retries_pending
    }

    pub const fn finally_failed_for(&self, reason: FailureReason) -> u32 {
        self.finally_failed[reason as usize]
    }

    pub fn status(&self) -> JobStatus {
        if self.tasks() == 0 {
            return JobStatus::Empty;
        }
        if self.unfinished() > 0 {
            return JobStatus::Running;
        }
        if self.failed == 0 {
            return JobStatus::Completed;
        }
        let timeouts = self.finally_failed_for(FailureReason::Timeout);
        let killed = self.finally_failed_for(FailureReason::Killed);
        if timeouts == self.failed {
            JobStatus::Timeout
        } else if timeouts == 0 && (killed < self.failed || self.completed == 0) {
            JobStatus::Failed
        } else {
            JobStatus::Mixed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of what matters, in words: the golden table.
    #[test]
    fn the_full_table() {
        let mut table = String::new();
        for (completed, errors, timeouts, killed) in
            (0..16).map(|bits| (bits & 1, (bits >> 1) & 1, (bits >> 2) & 1, (bits >> 3) & 1))
        {
            let mut counters = Counters {
                completed,
                failed: errors + timeouts + killed,
                ..Counters::default()
            };
            counters.finally_failed[FailureReason::Error as usize] = errors;
            counters.finally_failed[FailureReason::Timeout as usize] = timeouts;
            counters.finally_failed[FailureReason::Killed as usize] = killed;
            table.push_str(&format!(
                "{completed}{errors}{timeouts}{killed} {}\n",
                counters.status().name()
            ));
        }
        let expected = "\
0000 EMPTY\n1000 COMPLETED\n0100 FAILED\n1100 FAILED\n0010 TIMEOUT\n1010 TIMEOUT\n0110 MIXED\n1110 MIXED\n\
0001 FAILED\n1001 MIXED\n0101 FAILED\n1101 FAILED\n0011 MIXED\n1011 MIXED\n0111 MIXED\n1111 MIXED\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn anything_unfinished_is_running() {
        let waiting = Counters {
            failed: 1,
            retries_pending: 1,
            completed: 3,
            ..Counters::default()
        };
        assert_eq!(waiting.status(), JobStatus::Running);
        for counters in [
            Counters {
                ready: 1,
                ..Counters::default()
            },
            Counters {
                scheduled: 1,
                ..Counters::default()
            },
            Counters {
                running: 1,
                ..Counters::default()
            },
        ] {
            assert_eq!(counters.status(), JobStatus::Running);
        }
    }
}
