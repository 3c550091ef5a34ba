//! An explanation: a code for programs, a sentence for people, and what would change it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::{LabelSet, WorkerId};
use crate::domain::event::FailureReason;
use crate::domain::{Labels, Timestamp, WorkerName};

/// Why a task, or a job, is not running, or that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExplanationReason)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    // Over.
    /// The job has no task.
    Empty,
    Completed,
    /// The job finished, and not all its tasks completed.
    Finished,
    Killed,
    DeadlineReached,
    /// Failures for this reason are never tried again.
    NotRetryable,
    RetriesUsedUp,
    RetryCancelled,
    // Under way.
    Running,
    /// It runs, and was told to end in order.
    Stopping,
    /// Given to a worker, and not started there yet.
    AwaitingStart,
    /// Its worker has not been heard for a while.
    WorkerSilent,
    // Waiting.
    RetryWait,
    /// The job is being killed, stopped or ended by its deadline.
    JobEnding,
    /// The job's tasks are still being written out.
    SubmissionUnderWay,
    /// An attempt that was given up has not ended yet, as far as is known.
    EarlierAttemptOpen,
    MaxParallel,
    /// Its shard cannot be opened.
    ShardStopped,
    /// Heartbeats cannot be heard, so nothing is known of workers.
    HeartbeatsUnheard,
    NoWorker,
    /// No worker has the labels.
    NoMatchingWorker,
    WorkersSilent,
    WorkersCordoned,
    WorkersDraining,
    /// Each of the workers with the labels is silent, cordoned or draining.
    WorkersUnavailable,
    /// All slots of the workers with the labels are taken.
    WorkersFull,
    /// No worker with the labels has granted a credit to the owner of the shard.
    NoCredit,
    /// Nothing stands in its way: it is placed when its job's turn comes.
    Placeable,
}

/// What is known of it. What does not belong to the reason is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ExplanationDetails)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<WorkerId>)]
    pub worker_id: Option<String>,
    /// When it came into its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When its retry, or its timeout, is due; or when its silent worker counts as lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries_used: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<FailureReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// What the attempt that failed wrote last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_log_lines: Vec<String>,
    /// Who asked for the kill or stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// Labels that its worker must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LabelSet>)]
    pub requires: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Tasks that count towards `maxParallel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// Tasks that a request has been carried out for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<u16>,
    /// This process owns the shard: what it says of credits is what decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_here: Option<bool>,
    /// Workers that have the labels, or all when none has; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerSeen>,
}

/// A worker as the process that was asked hears it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSeen {
    #[schema(value_type = WorkerId)]
    pub worker_id: String,
    #[schema(value_type = LabelSet)]
    pub labels: Labels,
    pub silent: bool,
    pub draining: bool,
    pub cordoned: bool,
    pub running: u32,
    pub queued: u32,
    pub max_capacity: u32,
    pub last_heartbeat_at: Timestamp,
    /// Assignments that it still takes from the shard's owner; absent when another process owns the shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub reason: Reason,
    pub sentence: String,
    /// What would change it; null when nothing needs to be done.
    pub remedy: Option<String>,
    pub details: Details,
}

impl Explanation {
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self {
            reason,
            sentence: sentence.into(),
            remedy: None,
            details: Details::default(),
        }
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub fn with(mut self, tell: impl FnOnce(&mut Details)) -> Self {
        tell(&mut self.details);
        self
    }
}

/// `zone=a, disk=ssd`.
pub fn listed(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

/// `worker-a, worker-b and 3 more`.
pub fn named<'a>(names: impl ExactSizeIterator<Item = &'a WorkerName>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(ToString::to_string).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
