//! A task as GraphQL shows it.

use async_graphql::{ID, Object, SimpleObject};

use super::scalar::DateTime;
use crate::api::view::{FailureView, TaskView};

/// One of the tasks of a job.
#[derive(Clone)]
pub struct Task(pub TaskView);

/// Why an attempt failed.
#[derive(Clone, SimpleObject)]
pub struct Failure {
    /// `ERROR`, `TIMEOUT`, `KILLED`, `WORKER_LOST`, `HANDED_BACK`, `INVALID_DAG`, `AUTHENTICATION` or `UNRECOVERABLE`.
    reason: String,
    message: String,
    exit_code: Option<i32>,
    /// From the outermost cause to the root.
    causes: Vec<String>,
    /// The last lines that the attempt wrote, oldest first.
    last_log_lines: Vec<String>,
    /// Whether another attempt may be tried after a failure for this reason.
    retryable: bool,
}

impl From<FailureView> for Failure {
    fn from(failure: FailureView) -> Self {
        Self {
            reason: failure.reason,
            message: failure.message,
            exit_code: failure.exit_code,
            causes: failure.causes,
            last_log_lines: failure.last_log_lines,
            retryable: failure.retryable,
        }
    }
}

/// The times, the worker and the failure are those of the present attempt.
#[Object]
impl Task {
    /// `task-<job uuid>-<number>`.
    async fn id(&self) -> ID {
        ID(self.0.task_id.to_string())
    }

    /// The same as `id`, as REST calls it.
    async fn task_id(&self) -> ID {
        ID(self.0.task_id.to_string())
    }

    async fn job_id(&self) -> ID {
        ID(self.0.job_id.to_string())
    }

    /// Its name in the document; with replicas, followed by the replica's index.
    async fn external_id(&self) -> &str {
        &self.0.external_id
    }

    /// From 0.
    async fn replica_index(&self) -> u32 {
        self.0.replica_index
    }

    /// `READY`, `SCHEDULED`, `RUNNING`, `COMPLETED` or `FAILED`.
    async fn state(&self) -> &str {
        self.0.state.name()
    }

    /// Rises at every scheduling, from 1; 0: not yet scheduled.
    async fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Retries that were charged to its budget.
    async fn retry_count(&self) -> u32 {
        self.0.retry_count
    }

    async fn max_retries(&self) -> u32 {
        self.0.max_retries
    }

    /// When its scheduled retry is due.
    async fn next_retry_at(&self) -> Option<DateTime> {
        self.0.next_retry_at.map(DateTime)
    }

    async fn worker_id(&self) -> Option<ID> {
        self.0.worker_id.clone().map(ID)
    }

    async fn failure(&self) -> Option<Failure> {
        self.0.failure.clone().map(Failure::from)
    }

    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    async fn scheduled_at(&self) -> Option<DateTime> {
        self.0.scheduled_at.map(DateTime)
    }

    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime)
    }

    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime)
    }
}
