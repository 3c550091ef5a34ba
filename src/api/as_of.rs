//! Looking back: a job or a task as it was at a time, folded from the log.
//!
//! Must stay true: the answer is the ordinary object of that time; one that may still change is called provisional; what
//! it costs has a bound, whatever is asked for.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Api;
use super::problem::Problem;
use super::view::{FailureView, JobView, TaskView};
use crate::domain::{GroupIndex, JobId, JobSpec, TaskHistory, TaskId, TaskState, Timestamp};
use crate::log::{JobAsOf, JobAt, TaskAsOf, TasksAsOf};
use crate::projection::storable_failure;

/// Questions that are answered at a time.
const MOST_AT_A_TIME: usize = 4;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// An object as it was at a time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AsOf<T> {
    #[serde(flatten)]
    pub object: T,
    pub as_of: Timestamp,
    /// The time is not before the last commit of the object's shard: what happened then may not all be written yet.
    pub provisional: bool,
    /// Of the last event of its own stream then; 0: there was none yet.
    #[serde(skip)]
    pub version: u32,
}

/// Some tasks of a job as they were at a time.
pub struct PastTasks {
    /// Each with the version of its last event then; 0: it was not written out yet.
    pub tasks: Vec<(TaskView, u32)>,
    /// Of the job.
    pub total: u32,
}

/// Who may look back now.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_AT_A_TIME)))
    }

    async fn one(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                metrics::counter!("grid_api_overload_refusals_total", "why" => "as_of").increment(1);
                Err(Problem::overloaded(
                    "too many questions about the past are under way; try again in a moment",
                ))
            }
        }
    }
}

impl Api {
    /// A job as it was.
    ///
    /// # Errors
    /// 404 before its submission, 410 when its day was archived, 422 when too many events would have to be read.
    pub(super) async fn job_as_of(&self, id: JobId, at: Timestamp) -> Result<AsOf<JobView>, Problem> {
        let _turn = self.turns.one().await?;
        let shard = id.shard(self.shards);
        // Before the events: what is committed after this is not earlier.
        let last = self.last_commit_at(id).await?;
        let most = self.parts.options.as_of_events;
        let found = self.parts.log.job_as_of(shard, id, at, most).await;
        match found.map_err(|error| unreadable(&error))? {
            JobAsOf::Unknown => Err(self.missing_job(id).await),
            JobAsOf::NotYet { submitted_at } => Err(not_yet(id, submitted_at, at)),
            JobAsOf::TooLong => Err(too_long(id, most)),
            JobAsOf::At(found) => Ok(AsOf {
                object: job_view(&found),
                as_of: at,
                provisional: at >= last,
                version: found.job.version(),
            }),
        }
    }

    /// A task as it was.
    ///
    /// # Errors
    /// 404 before its job's submission, 410 when its day was archived.
    pub(super) async fn task_as_of(&self, id: TaskId, at: Timestamp) -> Result<AsOf<TaskView>, Problem> {
        let _turn = self.turns.one().await?;
        let last = self.last_commit_at(id.job).await?;
        let found = self.parts.log.task_as_of(id, at).await;
        match found.map_err(|error| unreadable(&error))? {
            TaskAsOf::Unknown => Err(match self.missing_job(id.job).await {
                problem if problem.code == "NOT_FOUND" => Problem::not_found(id),
                problem => problem,
            }),
            TaskAsOf::NotYet { submitted_at } => Err(not_yet(id, submitted_at, at)),
            TaskAsOf::At {
                task,
                submitted,
                submitted_at,
            } => {
                let job = Submitted::new(&submitted.spec, submitted_at);
                let object = job.task_view(id, &task).ok_or_else(|| Problem::not_found(id))?;
                Ok(AsOf {
                    object,
                    as_of: at,
                    provisional: at >= last,
                    version: task.version(),
                })
            }
        }
    }

    /// Tasks of a job as they were, by number: up to `limit` of those after `after`.
    ///
    /// # Errors
    /// 404 before its submission, 410 when its day was archived, 422 when too many events would have to be read.
    pub(super) async fn tasks_as_of(
        &self,
        job: JobId,
        (after, limit): (u32, u32),
        at: Timestamp,
    ) -> Result<PastTasks, Problem> {
        let _turn = self.turns.one().await?;
        let most = self.parts.options.as_of_events;
        let (first, last) = (after.saturating_add(1), after.saturating_add(limit));
        let found = self.parts.log.tasks_as_of(job, (first, last), at, most).await;
        match found.map_err(|error| unreadable(&error))? {
            TasksAsOf::Unknown => Err(self.missing_job(job).await),
            TasksAsOf::NotYet { submitted_at } => Err(not_yet(job, submitted_at, at)),
            TasksAsOf::TooLong => Err(too_long(format_args!("{limit} tasks of {job}"), most)),
            TasksAsOf::At {
                tasks,
                submitted,
                submitted_at,
            } => {
                let its = Submitted::new(&submitted.spec, submitted_at);
                let view = |(number, task): (u32, TaskHistory)| {
                    let view = its.task_view(TaskId { job, number }, &task)?;
                    Some((view, task.version()))
                };
                Ok(PastTasks {
                    tasks: (first..=last).zip(tasks).filter_map(view).collect(),
                    total: submitted.spec.task_count,
                })
            }
        }
    }

    async fn last_commit_at(&self, job: JobId) -> Result<Timestamp, Problem> {
        let last = self.parts.log.last_commit_at(job.shard(self.shards)).await;
        last.map_err(|error| Problem::database(&error))
    }
}

fn job_view(found: &JobAt) -> JobView {
    let (job, spec) = (&found.job, found.job.spec());
    let (task_counters, failure_summary) = JobView::counted(job.counters());
    JobView {
        job_id: job.id(),
        external_id: spec.external_id.clone(),
        labels: spec.labels.clone(),
        created_at: job.submitted_at(),
        finished_at: found.finished_at,
        task_counters,
        status: job.counters().status().name().to_owned(),
        retries_pending: job.counters().retries_pending,
        failure_summary,
    }
}

/// A job as it was submitted.
struct Submitted<'a> {
    spec: &'a JobSpec,
    groups: GroupIndex,
    at: Timestamp,
}

impl<'a> Submitted<'a> {
    fn new(spec: &'a JobSpec, at: Timestamp) -> Self {
        Self {
            spec,
            groups: GroupIndex::new(spec),
            at,
        }
    }

    /// `None`: the job has no such task.
    fn task_view(&self, id: TaskId, task: &TaskHistory) -> Option<TaskView> {
        let place = self.groups.place(self.spec, id.number)?;
        let policy = self.spec.policies.get(place.group.policy as usize);
        let told = task.told();
        let failure = told.failure.as_ref().filter(|_| task.state() == TaskState::Failed);
        Some(TaskView {
            task_id: id,
            job_id: id.job,
            external_id: place.external_id(),
            replica_index: place.replica_index,
            state: task.state(),
            attempt: task.record().map_or(0, |record| record.attempt().0),
            retry_count: task.record().map_or(0, |record| u32::from(record.retries_used())),
            max_retries: policy.map_or(0, |policy| u32::from(policy.retry.max_retries)),
            next_retry_at: task.next_retry_at(),
            worker_id: told.worker.as_ref().map(ToString::to_string),
            failure: failure.map(storable_failure).map(FailureView::from),
            created_at: self.at,
            scheduled_at: told.scheduled_at,
            started_at: told.started_at,
            finished_at: told.finished_at,
        })
    }
}

fn not_yet(id: impl std::fmt::Display, submitted_at: Timestamp, at: Timestamp) -> Problem {
    let detail = format!("{id} did not exist at {at}: its job was submitted at {submitted_at}");
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
}

fn too_long(what: impl std::fmt::Display, most: u32) -> Problem {
    let detail = format!(
        "to know {what} at that time, more than {most} events would have to be read (api.as_of_events): ask for an earlier \
         time, for fewer tasks, or for single ones, or read its events"
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "AS_OF_TOO_LONG", detail)
}

/// An error of the log: of the database, or of one event.
pub(super) fn unreadable(error: &crate::log::Error) -> Problem {
    match error {
        crate::log::Error::UnreadableEvent { .. } => {
            let detail = format!("{error}; see `grid verify`");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "QUARANTINED", detail)
        }
        other => Problem::database(other),
    }
}
