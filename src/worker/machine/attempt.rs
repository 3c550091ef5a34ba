//! An attempt that the worker holds: from its assignment until its end is acknowledged.

use std::time::Duration;

use crate::domain::{Failure, FailureReason, Timestamp};
use crate::event::{Assignment, Outcome};

/// Where an attempt stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for a slot.
    Queued {
        assignment: Box<Assignment>,
        since: Timestamp,
    },
    /// Has a slot; `started` once it is known to run.
    Running {
        started: bool,
    },
    Ended(Outcome),
}

/// Why a running attempt is being ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its shard said so.
    Cancelled,
    /// The worker leaves and cannot wait longer.
    Drained,
    /// The worker is cut off.
    CutOff,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) stage: Stage,
    pub(super) ending: Option<Ending>,
    /// The shard has its start in the log.
    pub(super) start_acknowledged: bool,
    /// It waits for the next message to its shard.
    pub(super) pending: bool,
    /// How often what is now to say has been said.
    repeats: u32,
    /// When it is said again, unless it is acknowledged.
    pub(super) repeat_at: Timestamp,
}

impl Held {
    pub(super) fn new(stage: Stage) -> Self {
        Self {
            stage,
            ending: None,
            start_acknowledged: false,
            pending: false,
            repeats: 0,
            repeat_at: Timestamp::ZERO,
        }
    }

    /// Whether there is something that its shard has not acknowledged.
    pub(super) fn has_news(&self) -> bool {
        match self.stage {
            Stage::Queued { .. } => false,
            Stage::Running { started } => started && !self.start_acknowledged,
            Stage::Ended(_) => true,
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// There is something new, or somebody new to tell: repeats begin anew.
    pub(super) fn reset_repeats(&mut self) {
        self.repeats = 0;
    }

    /// It is said now; when to say it again.
    pub(super) fn said(&mut self, now: Timestamp, min: Duration, max: Duration) -> Timestamp {
        let delay = min.saturating_mul(1 << self.repeats.min(16)).min(max.max(min));
        self.repeats += 1;
        self.pending = false;
        self.repeat_at = now + delay;
        self.repeat_at
    }

    /// What its end is, given what ended it. A result that came first stands.
    pub(super) fn judge(&self, outcome: Outcome) -> Outcome {
        let Some(ending) = self.ending else { return outcome };
        let (reason, message) = match ending {
            Ending::Cancelled => (FailureReason::Killed, "it was cancelled"),
            Ending::Drained => (FailureReason::WorkerLost, "its worker left before it ended"),
            Ending::CutOff => (
                FailureReason::WorkerLost,
                "its worker was cut off from the jobmasters and ended it",
            ),
        };
        match outcome {
            Outcome::Completed { .. } => outcome,
            Outcome::Failed { mut failure } => {
                if failure.reason != reason {
                    failure
                        .causes
                        .insert(0, format!("{}: {}", failure.reason.name(), failure.message));
                    failure.message = message.to_owned();
                    failure.reason = reason;
                }
                Outcome::Failed { failure }
            }
            // It never started: nothing is lost by giving it back, unless somebody wants it dead.
            Outcome::HandedBack if ending == Ending::Cancelled => Outcome::Failed {
                failure: Failure::new(reason, message),
            },
            Outcome::HandedBack => outcome,
        }
    }
}

/// About how many bytes an end takes in a message.
pub(super) fn size_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::HandedBack => 0,
        Outcome::Completed { counters } => counters.keys().map(|name| name.len() + 24).sum(),
        Outcome::Failed { failure } => {
            let texts = failure.causes.iter().chain(&failure.last_log_lines);
            200 + failure.message.len() + texts.map(|text| text.len() + 8).sum::<usize>()
        }
    }
}
