//! The objects of the API as they are written.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::openapi::{LabelSet, WorkerId, WorkerState};
use crate::domain::event::{FailureReason, TaskState};
use crate::domain::{Counters, Incarnation, JobId, JobSpec, JobStatus, Labels, TaskId, Timestamp};
use crate::projection::PositionToken;

/// How many tasks are in each state; a task that waits for its retry counts as failed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct TaskCounters {
    pub ready: u32,
    pub scheduled: u32,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Job)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub job_id: JobId,
    pub external_id: Option<String>,
    #[schema(value_type = LabelSet)]
    pub labels: Labels,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub task_counters: TaskCounters,
    #[schema(value_type = JobStatus)]
    pub status: String,
    pub retries_pending: u32,
    /// Finally failed tasks by reason; reasons without any are left out.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub failure_summary: BTreeMap<&'static str, u32>,
}

impl JobView {
    pub fn counted(counters: &Counters) -> (TaskCounters, BTreeMap<&'static str, u32>) {
        let summary = FailureReason::ALL
            .into_iter()
            .map(|reason| (reason.name(), counters.finally_failed_for(reason)));
        let states = TaskCounters {
            ready: counters.ready,
            scheduled: counters.scheduled,
            running: counters.running,
            completed: counters.completed,
            failed: counters.failed,
        };
        (states, summary.filter(|(_, count)| *count > 0).collect())
    }

    /// A job that was accepted a moment ago, when the read models are late.
    pub fn accepted(job_id: JobId, spec: &JobSpec, created_at: Timestamp) -> Self {
        let counters = Counters {
            ready: spec.task_count,
            ..Counters::default()
        };
        let (task_counters, failure_summary) = Self::counted(&counters);
        let status: JobStatus = counters.status();
        Self {
            job_id,
            external_id: spec.external_id.clone(),
            labels: spec.labels.clone(),
            created_at,
            finished_at: None,
            task_counters,
            status: status.name().to_owned(),
            retries_pending: 0,
            failure_summary,
        }
    }
}

/// What a command answers: the object as it is then, and where to read it at least as new.
#[derive(Debug, Serialize)]
pub struct At<T> {
    #[serde(flatten)]
    pub object: T,
    pub position: PositionToken,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    #[schema(value_type = FailureReason)]
    pub reason: String,
    pub message: String,
    pub exit_code: Option<i32>,
    pub causes: Vec<String>,
    pub last_log_lines: Vec<String>,
    pub retryable: bool,
}

/// The times, the worker and the failure are those of the present attempt.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Task)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    pub task_id: TaskId,
    pub job_id: JobId,
    pub external_id: String,
    pub replica_index: u32,
    pub state: TaskState,
    pub attempt: u32,
    pub retry_count: u32,
    pub max_retries: u32,
    pub next_retry_at: Option<Timestamp>,
    #[schema(value_type = Option<WorkerId>)]
    pub worker_id: Option<String>,
    pub failure: Option<FailureView>,
    pub created_at: Timestamp,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    #[schema(value_type = WorkerId)]
    pub worker_id: String,
    /// Its present process, or its last one: whose events it has.
    #[serde(skip)]
    pub incarnation: Incarnation,
    pub endpoint_url: String,
    pub current_tasks: u32,
    pub max_capacity: u32,
    #[schema(value_type = WorkerState)]
    pub state: &'static str,
    /// Its process was told to finish and leave, or does so.
    pub draining: bool,
    /// It gets no new work, nor do later processes of its name, until it is uncordoned.
    pub cordoned: bool,
    pub last_heartbeat_at: Option<Timestamp>,
    pub registered_at: Timestamp,
    pub created_at: Timestamp,
    /// When its process ended, or was given up.
    pub left_at: Option<Timestamp>,
    /// `DRAINED`: it said goodbye. `LOST`: it was not heard for too long. `SUPERSEDED`: a newer process took its name.
    pub left_cause: Option<String>,
    #[schema(value_type = LabelSet)]
    pub labels: Labels,
    /// Cores in use, and bytes: as of the last heartbeat.
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    pub position: PositionToken,
    pub r#type: String,
    /// Of the event's data.
    pub version: u16,
    pub stream_version: u32,
    pub at: Timestamp,
    pub principal: String,
    #[schema(value_type = Option<String>, format = "uuid")]
    pub causation_id: Option<uuid::Uuid>,
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quarantined)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedView {
    pub shard: u16,
    /// command, report or event.
    pub source: &'static str,
    /// Offset of the message, or sequence number of the event, in its shard.
    pub place: i64,
    pub reason: String,
    pub attempts: u32,
    pub principal: String,
    pub first_at: Timestamp,
    pub quarantined_at: Timestamp,
    /// As far as it is text, at most 4 KiB of it.
    pub payload: String,
}
