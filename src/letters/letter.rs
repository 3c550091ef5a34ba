//! What a worker tells of records that failed, as it is sent.

use serde::{Deserialize, Serialize};

use crate::domain::{TaskId, Timestamp};

/// A longer record is cut: its letter shows the beginning, and cannot be replayed.
pub const MOST_RECORD_BYTES: usize = 256 * 1024;
/// Letters that one attempt sends at most; what fails beyond that is only counted.
pub const MOST_LETTERS: u64 = 100_000;
/// And their bytes.
pub const MOST_LETTER_BYTES: usize = 256 * 1024 * 1024;

/// That a record of an attempt has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Told {
    pub task_id: TaskId,
    pub attempt: u32,
    /// So many had failed where the attempt went on from an earlier one; 0: it began anew.
    pub after: u64,
    /// How many have failed with this one, over all attempts.
    pub number: u64,
    /// `None`: only the count is told.
    pub letter: Option<Letter>,
}

/// One record, and why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Letter {
    pub at: Timestamp,
    /// The id of the node at which it failed.
    pub node: String,
    pub error: String,
    /// As it came into the node, as JSON: an object, or a text that could not be read as one.
    pub record: String,
    /// Only the beginning is there.
    pub cut: bool,
}

impl Letter {
    /// What it counts for.
    pub fn bytes(&self) -> usize {
        self.node.len() + self.error.len() + self.record.len()
    }
}
