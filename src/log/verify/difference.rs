//! What a verification found.

use serde::Serialize;

use crate::domain::{JobId, Position, ShardId, TaskId};
use crate::log::StoredEvent;

/// What is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DifferenceKind {
    /// An event is not there.
    MissingEvent,
    /// An event is there that no commit has written.
    ExtraEvent,
    /// Events are not those that were committed.
    Hash,
    /// A commit does not follow from the one before it, or does not cover its events.
    Chain,
    /// A shard's row disagrees with its events.
    Head,
    /// Versions of a stream are not 1, 2, 3, …
    Version,
    /// An event that the state it meets does not allow.
    Transition,
    /// An event that cannot be read.
    Unreadable,
    /// Time runs backwards.
    Time,
    /// An event is in the partition of another day.
    Day,
    /// An event is in a shard where it does not belong.
    Shard,
    /// A snapshot is not the fold of the events.
    Snapshot,
    /// A read model is not the fold of the events.
    ReadModel,
}

/// One difference, with the place where it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub kind: DifferenceKind,
    pub shard: ShardId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    pub expected: String,
    pub found: String,
}

impl Difference {
    pub fn new(kind: DifferenceKind, shard: ShardId, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            kind,
            shard,
            seq: None,
            job: None,
            task: None,
            expected: expected.into(),
            found: found.into(),
        }
    }

    #[must_use]
    pub const fn at(mut self, position: Position) -> Self {
        self.shard = position.shard;
        self.seq = Some(position.seq.0);
        self
    }

    #[must_use]
    pub const fn of_job(mut self, job: JobId) -> Self {
        self.job = Some(job);
        self
    }

    pub(super) fn of_event(
        kind: DifferenceKind,
        stored: &StoredEvent,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let mut difference = Self::new(kind, stored.position.shard, expected, found).at(stored.position);
        difference.job = stored.job();
        if let (Some(job), 1..) = (difference.job, stored.task()) {
            difference.task = Some(TaskId {
                job,
                number: stored.task(),
            });
        }
        difference
    }
}

/// Differences up to a cap, and how many there were in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Differences {
    pub listed: Vec<Difference>,
    pub total: u64,
    pub most: usize,
}

impl Differences {
    pub const fn new(most: usize) -> Self {
        Self {
            listed: Vec::new(),
            total: 0,
            most,
        }
    }

    pub fn add(&mut self, difference: Difference) {
        self.total += 1;
        if self.listed.len() < self.most {
            self.listed.push(difference);
        }
    }

    pub fn append(&mut self, other: Self) {
        let unlisted = other.total - other.listed.len() as u64;
        other.listed.into_iter().for_each(|difference| self.add(difference));
        self.total += unlisted;
    }
}
