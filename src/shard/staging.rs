//! What a turn leaves behind: events to be committed, and outputs that wait for that commit.

use crate::domain::{Epoch, Incarnation, JobId, Refusal, Seq, ShardId, Standing, WorkerName};
use crate::event::{Accepted, Assignment, AssignmentItem, AttemptRef, EventRecord, ReplyAddress, ReportKind};
use crate::log::Cursor;

/// Something that may leave the shard once the commit it was staged with has succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Reply {
        to: ReplyAddress,
        result: Result<Accepted, Refusal>,
    },
    /// What becomes of a worker's saying that it began, or left.
    Tell {
        worker: WorkerName,
        incarnation: Incarnation,
        answer: WorkerAnswer,
    },
    Assign {
        worker: WorkerName,
        incarnation: Incarnation,
        assignment: Assignment,
    },
    Cancel {
        worker: WorkerName,
        incarnation: Incarnation,
        attempt: AttemptRef,
    },
    Stop {
        worker: WorkerName,
        incarnation: Incarnation,
        attempt: AttemptRef,
    },
    /// How the worker itself stands.
    Standing {
        worker: WorkerName,
        incarnation: Incarnation,
        standing: Standing,
    },
    Ack {
        worker: WorkerName,
        incarnation: Incarnation,
        kind: ReportKind,
        attempt: AttemptRef,
    },
}

/// An answer to a worker about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerAnswer {
    Registered(Standing),
    Superseded,
    Removed,
}

impl From<WorkerAnswer> for AssignmentItem {
    fn from(answer: WorkerAnswer) -> Self {
        match answer {
            WorkerAnswer::Registered(standing) => Self::Registered { standing },
            WorkerAnswer::Superseded => Self::Superseded {},
            WorkerAnswer::Removed => Self::Removed {},
        }
    }
}

/// A job's state as of the batch it travels with, to be written after that batch's commit.
#[derive(Clone, Debug)]
pub struct JobSnapshot {
    pub job: JobId,
    /// At rest: a load leaves it in the database.
    pub at_rest: bool,
    /// Uncompressed, see `domain::snapshot`.
    pub bytes: Vec<u8>,
}

/// One commit of one shard.
#[derive(Clone, Debug)]
pub struct Batch {
    pub shard: ShardId,
    pub epoch: Epoch,
    /// Place of the first event; also what the shard's next place must be when there are no events.
    pub first_seq: Seq,
    pub events: Vec<EventRecord>,
    pub cursor: Cursor,
    /// The days before this one (since 1970) are closed.
    pub closed_before: i32,
    /// It ends a round of snapshots: up to its last event, all that changed is in these, or was in earlier ones.
    pub round: bool,
    /// Written when the batch is committed.
    pub snapshots: Vec<JobSnapshot>,
}

/// Collects until the journal takes it.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub events: Vec<EventRecord>,
    pub outputs: Vec<Output>,
    /// Commit even if there is nothing else, for the cursor's sake.
    pub cursor_only: bool,
}

impl Staged {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.outputs.is_empty() && !self.cursor_only
    }
}
