//! A task as GraphQL shows it.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::event::{self, Event, EventOrder};
use super::fault::Answer;
use super::job::{Job, api};
use super::list::{EXPLANATION, List, cost};
use super::loaders::Loaders;
use super::past::Then;
use super::scalar::{DateTime, Json};
use super::worker::{self, Worker};
use crate::api::view::{FailureView, TaskView};
use crate::domain::{StreamId, TaskState};
use crate::projection::AttemptRow;

/// One of the tasks of a job.
#[derive(Clone)]
pub struct Task {
    view: TaskView,
    /// Of a task as it was.
    then: Option<Then>,
}

impl From<TaskView> for Task {
    fn from(view: TaskView) -> Self {
        Self { view, then: None }
    }
}

impl Task {
    /// As it was; so are its attempts and its events.
    pub fn then(view: TaskView, then: Then) -> Self {
        Self { view, then: Some(then) }
    }

    pub const fn number(&self) -> u32 {
        self.view.task_id.number
    }
}

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
        ID(self.view.task_id.to_string())
    }

    /// The same as `id`, as REST calls it.
    async fn task_id(&self) -> ID {
        ID(self.view.task_id.to_string())
    }

    async fn job_id(&self) -> ID {
        ID(self.view.job_id.to_string())
    }

    /// Its name in the document; with replicas, followed by the replica's index.
    async fn external_id(&self) -> &str {
        &self.view.external_id
    }

    /// From 0.
    async fn replica_index(&self) -> u32 {
        self.view.replica_index
    }

    /// `READY`, `SCHEDULED`, `RUNNING`, `COMPLETED` or `FAILED`.
    async fn state(&self) -> &str {
        self.view.state.name()
    }

    /// Rises at every scheduling, from 1; 0: not yet scheduled.
    async fn attempt(&self) -> u32 {
        self.view.attempt
    }

    /// Retries that were charged to its budget.
    async fn retry_count(&self) -> u32 {
        self.view.retry_count
    }

    async fn max_retries(&self) -> u32 {
        self.view.max_retries
    }

    /// When its scheduled retry is due.
    async fn next_retry_at(&self) -> Option<DateTime> {
        self.view.next_retry_at.map(DateTime)
    }

    async fn worker_id(&self) -> Option<ID> {
        self.view.worker_id.clone().map(ID)
    }

    async fn failure(&self) -> Option<Failure> {
        self.view.failure.clone().map(Failure::from)
    }

    async fn created_at(&self) -> DateTime {
        self.view.created_at.into()
    }

    async fn scheduled_at(&self) -> Option<DateTime> {
        self.view.scheduled_at.map(DateTime)
    }

    async fn started_at(&self) -> Option<DateTime> {
        self.view.started_at.map(DateTime)
    }

    async fn finished_at(&self) -> Option<DateTime> {
        self.view.finished_at.map(DateTime)
    }

    /// As it is now, of a task as it was too.
    async fn job(&self, context: &Context<'_>) -> Answer<Option<Job>> {
        let job = context.data_unchecked::<Loaders>().load_one(self.view.job_id).await?;
        Ok(job.map(Job::from))
    }

    /// The worker of the present attempt, or of the last one.
    async fn worker(&self, context: &Context<'_>) -> Answer<Option<Worker>> {
        worker::named(context, self.view.worker_id.as_deref()).await
    }

    /// Every attempt, oldest first; the present one is the last.
    #[graphql(complexity = "5 * child_complexity + 1")]
    async fn attempts(&self, context: &Context<'_>) -> Answer<Vec<Attempt>> {
        let earlier = context.data_unchecked::<Loaders>().load_one(self.view.task_id).await?;
        let mut attempts: Vec<Attempt> = earlier.unwrap_or_default().into_iter().map(Attempt::from).collect();
        if self.then.is_some() {
            // What has been followed by another attempt changes no more.
            let number = self.view.attempt;
            let is_over = self.view.state == TaskState::Ready;
            attempts.retain(|attempt| attempt.number < number || (is_over && attempt.number == number));
        }
        // Rows are read one after the other: an attempt may have been followed meanwhile.
        if self.view.attempt > 0 && attempts.iter().all(|attempt| attempt.number < self.view.attempt) {
            attempts.push(Attempt::present(&self.view));
        }
        Ok(attempts)
    }

    /// Why it is in its state, and what would change that: an object with a reason, a sentence and what is known. It is
    /// that of now, of a task as it was too.
    #[graphql(complexity = "EXPLANATION")]
    async fn explain(&self, context: &Context<'_>) -> Answer<Json> {
        Ok(Json::of(&api(context).explain_task(self.view.task_id).await?))
    }

    /// What has happened to it.
    #[graphql(complexity = "cost(first, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the event before.")] after: Option<String>,
        #[graphql(default)] order: EventOrder,
    ) -> Answer<List<Event>> {
        let version = self.then.map(|then| then.version);
        event::history(
            context,
            StreamId::Task(self.view.task_id),
            (first, after),
            order,
            version,
        )
        .await
    }
}

/// One try at a task.
pub struct Attempt {
    number: u32,
    worker_id: Option<String>,
    scheduled_at: Option<DateTime>,
    started_at: Option<DateTime>,
    finished_at: Option<DateTime>,
    failure: Option<Failure>,
}

impl Attempt {
    fn present(task: &TaskView) -> Self {
        Self {
            number: task.attempt,
            worker_id: task.worker_id.clone(),
            scheduled_at: task.scheduled_at.map(DateTime),
            started_at: task.started_at.map(DateTime),
            finished_at: task.finished_at.map(DateTime),
            failure: task.failure.clone().map(Failure::from),
        }
    }
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            number: row.attempt,
            worker_id: row.worker.map(|name| format!("worker-{name}")),
            scheduled_at: row.scheduled_at.map(DateTime),
            started_at: row.started_at.map(DateTime),
            finished_at: row.finished_at.map(DateTime),
            failure: row.failure.map(|failure| FailureView::from(failure).into()),
        }
    }
}

#[Object]
impl Attempt {
    /// From 1.
    async fn attempt(&self) -> u32 {
        self.number
    }

    async fn worker_id(&self) -> Option<ID> {
        self.worker_id.clone().map(ID)
    }

    async fn worker(&self, context: &Context<'_>) -> Answer<Option<Worker>> {
        worker::named(context, self.worker_id.as_deref()).await
    }

    async fn scheduled_at(&self) -> Option<DateTime> {
        self.scheduled_at
    }

    async fn started_at(&self) -> Option<DateTime> {
        self.started_at
    }

    async fn finished_at(&self) -> Option<DateTime> {
        self.finished_at
    }

    /// Why it failed, if it did.
    async fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}
