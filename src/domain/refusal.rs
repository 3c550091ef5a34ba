//! Why a command is refused: a code for programs, a sentence for people.

use serde::{Deserialize, Serialize};

/// A refusal. Its message says what was wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub code: RefusalCode,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefusalCode {
    /// No such job, task or worker.
    NotFound,
    /// Another job has this id.
    IdTaken,
    /// The id's time is not between yesterday and tomorrow.
    IdOutOfRange,
    /// The job's history has been archived.
    Gone,
    /// A retry was asked for, and nothing has finally failed.
    NothingFailed,
    /// The job is being killed, stopped or ended by its deadline.
    BeingEnded,
    /// No retry of the task is pending.
    NoRetryPending,
    /// A newer process of this worker has registered.
    Superseded,
    /// The worker's process has left.
    WorkerLeft,
    /// It arrived after the time up to which it was wanted.
    Expired,
    /// It could not be decided, several times; see the quarantine.
    Quarantined,
    /// Older programs may still run, which could not read what it would write.
    UpgradeUnfinished,
}

impl Refusal {
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
