//! Commands (wishes, on `grid.commands`, partition = shard) and their replies (on `grid.replies`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::version::{Version, Wire};
use crate::domain::event::WorkerEnd;
use crate::domain::{
    Incarnation, JobId, JobSpec, Position, Refusal, Registration, ShardId, Standing, TaskId, Timestamp, WorkerName,
};

/// A wish with all that a shard needs to decide it once, and only in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandMessage {
    pub v: Version<1>,
    /// The client command: one that arrives twice is decided once.
    pub id: Uuid,
    pub principal: Arc<str>,
    /// After this time it is refused: an unknown outcome ends then.
    pub not_after: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply_to: Option<ReplyAddress>,
    pub command: Command,
}

impl Wire for CommandMessage {
    const WHAT: &'static str = "command";
}

/// What may be whole in a command that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Who waits for an answer.
    pub reply_to: Option<ReplyAddress>,
    pub principal: String,
}

impl Rescued {
    pub fn of(bytes: &[u8]) -> Self {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).unwrap_or_default();
        let reply_to = fields
            .remove("replyTo")
            .and_then(|value| serde_json::from_value(value).ok());
        let principal = fields.get("principal").and_then(serde_json::Value::as_str);
        Self {
            reply_to,
            principal: principal.unwrap_or_default().to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Command {
    SubmitJob {
        job: JobId,
        spec: Box<JobSpec>,
    },
    KillJob {
        job: JobId,
    },
    StopJob {
        job: JobId,
    },
    RetryJob {
        job: JobId,
    },
    CancelRetry {
        task: TaskId,
    },
    BringForwardRetry {
        task: TaskId,
    },
    /// To the shard `worker.slot(shards)`. Of workers before they said this in their reports.
    RegisterWorker {
        registration: Registration,
    },
    /// To the same shard: the process has ended. As above.
    RemoveWorker {
        worker: WorkerName,
        incarnation: Incarnation,
        cause: WorkerEnd,
    },
    /// To the same shard: no new work for the name.
    CordonWorker {
        worker: WorkerName,
    },
    /// To the same shard: work again.
    UncordonWorker {
        worker: WorkerName,
    },
    /// To the same shard: no new work for the name, and its process finishes and leaves.
    DrainWorker {
        worker: WorkerName,
    },
}

impl Command {
    /// As it is called in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SubmitJob { .. } => "SubmitJob",
            Self::KillJob { .. } => "KillJob",
            Self::StopJob { .. } => "StopJob",
            Self::RetryJob { .. } => "RetryJob",
            Self::CancelRetry { .. } => "CancelRetry",
            Self::BringForwardRetry { .. } => "BringForwardRetry",
            Self::RegisterWorker { .. } => "RegisterWorker",
            Self::RemoveWorker { .. } => "RemoveWorker",
            Self::CordonWorker { .. } => "CordonWorker",
            Self::UncordonWorker { .. } => "UncordonWorker",
            Self::DrainWorker { .. } => "DrainWorker",
        }
    }

    /// The shard that decides it, of `shards` in all.
    pub fn shard(&self, shards: u16) -> ShardId {
        match self {
            Self::RegisterWorker { registration } => ShardId(registration.worker.slot(shards)),
            Self::RemoveWorker { worker, .. }
            | Self::CordonWorker { worker }
            | Self::UncordonWorker { worker }
            | Self::DrainWorker { worker } => ShardId(worker.slot(shards)),
            Self::SubmitJob { job, .. } | Self::KillJob { job } | Self::StopJob { job } | Self::RetryJob { job } => {
                job.shard(shards)
            }
            Self::CancelRetry { task } | Self::BringForwardRetry { task } => task.job.shard(shards),
        }
    }

    /// The job whose shard decides it; `None` for commands on workers.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::SubmitJob { job, .. } | Self::KillJob { job } | Self::StopJob { job } | Self::RetryJob { job } => {
                Some(*job)
            }
            Self::CancelRetry { task } | Self::BringForwardRetry { task } => Some(task.job),
            Self::RegisterWorker { .. }
            | Self::RemoveWorker { .. }
            | Self::CordonWorker { .. }
            | Self::UncordonWorker { .. }
            | Self::DrainWorker { .. } => None,
        }
    }
}

/// Where the answer goes: the API node's partition of `grid.replies`, and what it calls the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyAddress {
    pub partition: u16,
    /// The API process: others on the same partition pass the answer over.
    pub node: Incarnation,
    pub correlation: Uuid,
}

/// An answer, sent only after a commit at or after the state from which it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    pub v: Version<1>,
    pub node: Incarnation,
    pub correlation: Uuid,
    pub result: Result<Accepted, Refusal>,
}

impl Wire for Reply {
    const WHAT: &'static str = "reply";
}

/// What was decided is in the log up to this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    pub position: Position,
    /// Of the worker that has registered, when there is anything to tell: it must know before it grants credits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standing: Option<Standing>,
}

impl Accepted {
    /// What was decided is in the log up to `position`.
    pub const fn at(position: Position) -> Self {
        Self {
            position,
            standing: None,
        }
    }
}
