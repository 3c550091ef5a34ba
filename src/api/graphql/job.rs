//! A job as GraphQL shows it.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};

use super::event::{self, Event, EventOrder};
use super::fault::{Answer, Fault};
use super::list::{Counted, EXPLANATION, List, cost, counted, cursor, read_cursor, read_number, size};
use super::loaders::{DocumentOf, Loaders, TasksAfter};
use super::past::Then;
use super::scalar::{DateTime, Json};
use super::task::Task;
use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::view::JobView;
use crate::domain::StreamId;

/// A set of tasks that were submitted together.
#[derive(Clone)]
pub struct Job {
    view: JobView,
    /// Of a job as it was.
    then: Option<Then>,
}

impl From<JobView> for Job {
    fn from(view: JobView) -> Self {
        Self { view, then: None }
    }
}

impl Job {
    /// As it was; so are its tasks and its events.
    pub fn then(view: JobView, then: Then) -> Self {
        Self { view, then: Some(then) }
    }
}

/// How many tasks are in which state. A task that waits for its retry counts as failed.
#[derive(Clone, Copy, SimpleObject)]
pub struct TaskCounters {
    ready: u32,
    scheduled: u32,
    running: u32,
    completed: u32,
    failed: u32,
}

impl From<crate::api::view::TaskCounters> for TaskCounters {
    fn from(counters: crate::api::view::TaskCounters) -> Self {
        Self {
            ready: counters.ready,
            scheduled: counters.scheduled,
            running: counters.running,
            completed: counters.completed,
            failed: counters.failed,
        }
    }
}

#[Object]
impl Job {
    /// `job-<uuid>`.
    async fn id(&self) -> ID {
        ID(self.view.job_id.to_string())
    }

    /// The same as `id`, as REST calls it.
    async fn job_id(&self) -> ID {
        ID(self.view.job_id.to_string())
    }

    /// The client's name for it; need not be unique.
    async fn external_id(&self) -> Option<&str> {
        self.view.external_id.as_deref()
    }

    /// An object of texts.
    async fn labels(&self) -> Json {
        Json::of(&self.view.labels)
    }

    async fn created_at(&self) -> DateTime {
        self.view.created_at.into()
    }

    /// When the last task ended; null while one is unfinished.
    async fn finished_at(&self) -> Option<DateTime> {
        self.view.finished_at.map(DateTime)
    }

    async fn task_counters(&self) -> TaskCounters {
        self.view.task_counters.into()
    }

    /// `EMPTY`, `RUNNING`, `COMPLETED`, `FAILED`, `TIMEOUT` or `MIXED`.
    async fn status(&self) -> &str {
        &self.view.status
    }

    /// Tasks that wait for their retry.
    async fn retries_pending(&self) -> u32 {
        self.view.retries_pending
    }

    /// Finally failed tasks by reason: an object of numbers.
    async fn failure_summary(&self) -> Json {
        Json::of(&self.view.failure_summary)
    }

    /// Its tasks, by number.
    #[graphql(complexity = "cost(first, child_complexity)")]
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the task before.")] after: Option<String>,
    ) -> Answer<Counted<Task>> {
        let limit = size(context, first)?;
        let begin = read_cursor(b't', after.as_deref(), read_number)?.unwrap_or(0);
        let job = self.view.job_id;
        if let Some(then) = self.then {
            return then.tasks(context, job, (begin, limit)).await;
        }
        let asked = TasksAfter {
            job,
            after: begin,
            limit,
        };
        let found = context.data_unchecked::<Loaders>().load_one(asked).await?;
        let Some(found) = found else {
            return Err(Fault(api(context).missing_job(job).await));
        };
        Ok(numbered(
            (begin, limit),
            found.total,
            found.tasks.into_iter().map(Task::from),
        ))
    }

    /// What has happened to the job itself; its tasks have histories of their own.
    #[graphql(complexity = "cost(first, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the event before.")] after: Option<String>,
        #[graphql(default)] order: EventOrder,
    ) -> Answer<List<Event>> {
        let version = self.then.map(|then| then.version);
        event::history(context, StreamId::Job(self.view.job_id), (first, after), order, version).await
    }

    /// Why it is not further, and what would change that: an object with a reason, a sentence and what is known. It is
    /// that of now, of a job as it was too.
    #[graphql(complexity = "EXPLANATION")]
    async fn explain(&self, context: &Context<'_>) -> Answer<Json> {
        Ok(Json::of(&api(context).explain_job(self.view.job_id).await?))
    }

    /// The document as it was submitted.
    #[graphql(complexity = "10 + child_complexity")]
    async fn document(&self, context: &Context<'_>) -> Answer<Document> {
        let job = self.view.job_id;
        let found = context.data_unchecked::<Loaders>().load_one(DocumentOf(job)).await?;
        let Some(found) = found else {
            return Err(Fault(api(context).missing_document(job).await));
        };
        Ok(Document {
            content_type: found.0,
            text: String::from_utf8(found.1).map_err(|error| Problem::internal("show a document", &error))?,
        })
    }
}

/// A job's document.
#[derive(SimpleObject)]
pub struct Document {
    /// `application/json` or `application/yaml`.
    content_type: String,
    text: String,
}

/// Some of a job's tasks, by number.
pub fn numbered((begin, limit): (u32, u32), total: u32, tasks: impl Iterator<Item = Task>) -> Counted<Task> {
    let more = begin.saturating_add(limit) < total;
    let edges = tasks.map(|task| (cursor(b't', &task.number().to_be_bytes()), task));
    counted(begin > 0, more, i64::from(total), edges)
}

pub fn api<'a>(context: &Context<'a>) -> &'a Arc<Api> {
    context.data_unchecked()
}
