//! Facts: what has happened to a job, a task or a worker. Once written they never change.
//!
//! An event says all that a reader needs to move its counters (from which state a task failed, why it is ready again),
//! so that a read model can be kept by events alone. Their JSON Schemas in schema/ are made from these types, comments
//! included.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attempt, Incarnation, JobSpec, Labels, Timestamp, WorkerName};

/// The five states of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum TaskState {
    Ready = 0,
    Scheduled = 1,
    Running = 2,
    Completed = 3,
    Failed = 4,
}

impl TaskState {
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Scheduled,
        Self::Running,
        Self::Completed,
        Self::Failed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Scheduled => "SCHEDULED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// Why an attempt, or a task, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
pub enum FailureReason {
    Error = 0,
    Timeout = 1,
    Killed = 2,
    WorkerLost = 3,
    HandedBack = 4,
    InvalidDag = 5,
    Authentication = 6,
    Unrecoverable = 7,
}

impl FailureReason {
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Timeout,
        Self::Killed,
        Self::WorkerLost,
        Self::HandedBack,
        Self::InvalidDag,
        Self::Authentication,
        Self::Unrecoverable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Timeout => "TIMEOUT",
            Self::Killed => "KILLED",
            Self::WorkerLost => "WORKER_LOST",
            Self::HandedBack => "HANDED_BACK",
            Self::InvalidDag => "INVALID_DAG",
            Self::Authentication => "AUTHENTICATION",
            Self::Unrecoverable => "UNRECOVERABLE",
        }
    }

    /// Whether another attempt may be tried after a failure for this reason.
    pub const fn retryable(self) -> bool {
        match self {
            Self::Error | Self::Timeout | Self::WorkerLost | Self::HandedBack => true,
            Self::Killed | Self::InvalidDag | Self::Authentication | Self::Unrecoverable => false,
        }
    }
}

/// What is known of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub reason: FailureReason,
    pub message: String,
    /// From the outermost cause to the root.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub causes: Vec<String>,
    /// Of a process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// The last lines that the attempt wrote, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub last_log_lines: Vec<String>,
}

impl Failure {
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            causes: Vec::new(),
            exit_code: None,
            last_log_lines: Vec::new(),
        }
    }

    /// Cuts every part to its limit: message and causes 4 KiB each, 16 causes, 20 lines of 2 KiB.
    #[must_use]
    pub fn capped(mut self) -> Self {
        fn cut(text: &mut String, bytes: usize) {
            if text.len() > bytes {
                let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                text.truncate(end);
                text.push('…');
            }
        }
        cut(&mut self.message, 4_096);
        self.causes.truncate(16);
        self.causes.iter_mut().for_each(|cause| cut(cause, 4_096));
        let surplus = self.last_log_lines.len().saturating_sub(20);
        self.last_log_lines.drain(..surplus);
        self.last_log_lines.iter_mut().for_each(|line| cut(line, 2_048));
        self
    }
}

/// Why a task is READY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReadyCause {
    /// Its job was submitted.
    Submission,
    /// Its retry was due.
    Retry { retry: u16 },
    /// A worker gave it back before it started; costs no retry.
    HandedBack,
    /// Somebody asked to retry the job; the task had finally failed for this reason.
    JobRetry { was: FailureReason },
}

/// What a scheduled retry is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    /// The task's `maxRetries`.
    Retries,
    /// Lost workers: a budget of its own.
    Losses,
    /// Unclean restarts of a whole standalone: counted and capped, no budget.
    Restarts,
    /// Brought forward: charged when it was first scheduled.
    Paid,
}

/// A job exists. All its tasks count as READY from here on; their own first events follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobSubmitted {
    pub spec: JobSpec,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_at: Option<Timestamp>,
}

/// Every unfinished task is going to fail as KILLED.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobKillRequested {}

/// Running tasks may end in order; all other unfinished ones are going to fail as KILLED.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStopRequested {}

/// Finally failed tasks are going to be READY again, with new budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRetryRequested {
    /// How many finally failed tasks are tried again.
    pub tasks: u32,
    /// The new deadline, when the job has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_at: Option<Timestamp>,
}

/// Every unfinished task is going to fail as TIMEOUT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobDeadlineReached {}

/// Bookkeeping: so far has a request been carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FanOutAdvanced {
    /// Version of the request in the job's stream.
    pub request: u32,
    /// The first task that has not been looked at; one more than the number of tasks when all have.
    pub next_task: u32,
}

/// No task of the job is unfinished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobFinished {
    pub status: super::JobStatus,
}

/// The task waits for a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReady {
    pub cause: ReadyCause,
}

/// The task was given to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskScheduled {
    pub attempt: Attempt,
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    /// The start timeout strikes then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub start_by: Option<Timestamp>,
}

/// The attempt runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStarted {
    pub attempt: Attempt,
    /// The run timeout strikes then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_by: Option<Timestamp>,
}

/// The task is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskCompleted {
    pub attempt: Attempt,
    /// What the attempt counted: records, bytes, errors, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub counters: BTreeMap<String, u64>,
}

/// The attempt, or the task before it was ever scheduled, failed. Not final: a RetryScheduled or a TaskReady follows at
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailed {
    /// 0 when it failed before it was ever scheduled.
    pub attempt: Attempt,
    /// The state that it leaves.
    pub from: TaskState,
    /// No retry follows.
    pub r#final: bool,
    /// The attempt may still run on its worker: a cancellation is under way, and the task is not placed again before
    /// its end is known. Absent: false.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub attempt_open: bool,
    pub failure: Failure,
}

/// The failed task is tried again then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryScheduled {
    /// 1 for the first retry of the budget.
    pub retry: u16,
    pub due_at: Timestamp,
    /// What it is charged to.
    pub budget: Budget,
}

/// The retry that was pending does not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryCancelled {
    /// The reason of the failure that is final now.
    pub reason: FailureReason,
}

/// How an attempt that was given up ended after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LateEnd {
    Completed,
    Failed,
    WorkerLost,
}

/// An attempt that was given up has ended after all; the task's state stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEnded {
    pub attempt: Attempt,
    pub outcome: LateEnd,
}

/// A worker process began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRegistered {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    pub endpoint_url: String,
    pub max_capacity: u32,
    #[serde(skip_serializing_if = "Labels::is_empty", default)]
    pub labels: Labels,
}

/// A worker's end, or that of its process: from here on the incarnation gets no more work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerLeft {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    pub cause: WorkerEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkerEnd {
    /// It drained and said goodbye.
    Drained,
    /// No heartbeat for too long.
    Lost,
    /// A newer process of the same name has registered.
    Superseded,
}

/// The worker gets no new work; what it runs goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerCordoned {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    /// The process before it was cordoned: a cordon is of the name, and lasts until it is lifted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inherited: bool,
}

/// The worker may get new work again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerUncordoned {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
}

/// The process is told to finish what it runs, hand back what it has not begun, and leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerDrainRequested {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
}

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    JobSubmitted(Box<JobSubmitted>),
    JobKillRequested(JobKillRequested),
    JobStopRequested(JobStopRequested),
    JobRetryRequested(JobRetryRequested),
    JobDeadlineReached(JobDeadlineReached),
    FanOutAdvanced(FanOutAdvanced),
    JobFinished(JobFinished),
    TaskReady(TaskReady),
    TaskScheduled(TaskScheduled),
    TaskStarted(TaskStarted),
    TaskCompleted(TaskCompleted),
    TaskFailed(Box<TaskFailed>),
    RetryScheduled(RetryScheduled),
    RetryCancelled(RetryCancelled),
    AttemptEnded(AttemptEnded),
    WorkerRegistered(Box<WorkerRegistered>),
    WorkerLeft(WorkerLeft),
    WorkerCordoned(WorkerCordoned),
    WorkerUncordoned(WorkerUncordoned),
    WorkerDrainRequested(WorkerDrainRequested),
}

impl Event {
    /// All names of types.
    pub const TYPE_NAMES: [&str; 20] = [
        "JobSubmitted",
        "JobKillRequested",
        "JobStopRequested",
        "JobRetryRequested",
        "JobDeadlineReached",
        "FanOutAdvanced",
        "JobFinished",
        "TaskReady",
        "TaskScheduled",
        "TaskStarted",
        "TaskCompleted",
        "TaskFailed",
        "RetryScheduled",
        "RetryCancelled",
        "AttemptEnded",
        "WorkerRegistered",
        "WorkerLeft",
        "WorkerCordoned",
        "WorkerUncordoned",
        "WorkerDrainRequested",
    ];

    /// The type's name, as written in the log and outside.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::JobSubmitted(_) => "JobSubmitted",
            Self::JobKillRequested(_) => "JobKillRequested",
            Self::JobStopRequested(_) => "JobStopRequested",
            Self::JobRetryRequested(_) => "JobRetryRequested",
            Self::JobDeadlineReached(_) => "JobDeadlineReached",
            Self::FanOutAdvanced(_) => "FanOutAdvanced",
            Self::JobFinished(_) => "JobFinished",
            Self::TaskReady(_) => "TaskReady",
            Self::TaskScheduled(_) => "TaskScheduled",
            Self::TaskStarted(_) => "TaskStarted",
            Self::TaskCompleted(_) => "TaskCompleted",
            Self::TaskFailed(_) => "TaskFailed",
            Self::RetryScheduled(_) => "RetryScheduled",
            Self::RetryCancelled(_) => "RetryCancelled",
            Self::AttemptEnded(_) => "AttemptEnded",
            Self::WorkerRegistered(_) => "WorkerRegistered",
            Self::WorkerLeft(_) => "WorkerLeft",
            Self::WorkerCordoned(_) => "WorkerCordoned",
            Self::WorkerUncordoned(_) => "WorkerUncordoned",
            Self::WorkerDrainRequested(_) => "WorkerDrainRequested",
        }
    }
}

/// Whose history an event belongs to: the key of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    Job(super::JobId),
    Task(super::TaskId),
    Worker(Incarnation),
}

impl StreamId {
    /// The two columns that hold it: (uuid, task number; 0 for a job or a worker).
    pub const fn columns(self) -> (uuid::Uuid, u32) {
        match self {
            Self::Job(job) => (job.0, 0),
            Self::Task(task) => (task.job.0, task.number),
            Self::Worker(incarnation) => (incarnation.0, 0),
        }
    }

    pub const fn is_worker(self) -> bool {
        matches!(self, Self::Worker(_))
    }
}
