//! What a shard tells a worker (on `grid.assignments`, the worker's partition), always after the commit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::report::is_usual;
use super::version::{Version, Wire};
use crate::domain::{Attempt, Epoch, ExecutorKind, Incarnation, ShardId, Standing, TaskId};

/// One message per (shard, worker, commit). The worker drops one whose epoch is lower than the highest it has seen of
/// that shard, and one of another timeline or for another incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentMessage {
    pub v: Version<1>,
    pub timeline: Uuid,
    pub shard: ShardId,
    pub epoch: Epoch,
    /// The process that owns the shard: credits are counted by it.
    pub jobmaster: Incarnation,
    /// The worker process it is meant for.
    pub incarnation: Incarnation,
    pub items: Vec<AssignmentItem>,
}

impl Wire for AssignmentMessage {
    const WHAT: &'static str = "assignment";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum AssignmentItem {
    /// That the worker began is in the log: it may grant credits, as it stands.
    Registered {
        #[serde(skip_serializing_if = "is_usual", default)]
        standing: Standing,
    },
    /// A newer process bears the worker's name, or this one was given up: it must end.
    Superseded {},
    /// That the worker left is in the log.
    Removed {},
    Assign {
        assignment: Assignment,
    },
    /// End the attempt now.
    Cancel {
        attempt: AttemptRef,
    },
    /// Let the attempt end in order: sources end, a process gets SIGTERM.
    Stop {
        attempt: AttemptRef,
    },
    /// How the worker itself stands, from the shard where its history lives; the latest counts.
    Standing {
        standing: Standing,
    },
    /// What was reported is in the log; the worker may forget it.
    Ack {
        kind: ReportKind,
        attempts: Vec<AttemptRef>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportKind {
    Started,
    Ended,
}

/// One attempt at one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRef {
    pub task: TaskId,
    pub attempt: Attempt,
}

/// All that a worker needs to run an attempt, but for the document, which it fetches once by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    pub attempt: AttemptRef,
    pub executor: ExecutorKind,
    /// SHA-256 of the normalised document, in hexadecimal.
    pub document_hash: String,
    /// The task's external id with its replica.
    pub external_id: String,
    /// Index of its group among those of the document that have replicas.
    pub group_index: u32,
    pub replica_index: u32,
    pub replica_count: u32,
    /// Whether it uses a credit: one that is sent again does not.
    pub charged: bool,
    /// W3C trace context of the order, where the job's submission has one and spans are told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<Arc<str>>,
}
