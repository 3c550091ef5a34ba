//! A job as GraphQL shows it.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};

use super::event::{self, Event, EventOrder};
use super::fault::{Answer, Fault};
use super::list::{Counted, EXPLANATION, List, cost, counted, cursor, read_cursor, read_number, size};
use super::loaders::{DocumentOf, Loaders, TasksAfter};
use super::scalar::{DateTime, Json};
use super::task::Task;
use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::view::JobView;
use crate::domain::StreamId;

/// A set of tasks that were submitted together.
#[derive(Clone)]
pub struct Job(pub JobView);

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
        ID(self.0.job_id.to_string())
    }

    /// The same as `id`, as REST calls it.
    async fn job_id(&self) -> ID {
        ID(self.0.job_id.to_string())
    }

    /// The client's name for it; need not be unique.
    async fn external_id(&self) -> Option<&str> {
        self.0.external_id.as_deref()
    }

    /// An object of texts.
    async fn labels(&self) -> Json {
        Json::of(&self.0.labels)
    }

    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the last task ended; null while one is unfinished.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime)
    }

    async fn task_counters(&self) -> TaskCounters {
        self.0.task_counters.into()
    }

    /// `EMPTY`, `RUNNING`, `COMPLETED`, `FAILED`, `TIMEOUT` or `MIXED`.
    async fn status(&self) -> &str {
        &self.0.status
    }

    /// Tasks that wait for their retry.
    async fn retries_pending(&self) -> u32 {
        self.0.retries_pending
    }

    /// Finally failed tasks by reason: an object of numbers.
    async fn failure_summary(&self) -> Json {
        Json::of(&self.0.failure_summary)
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
        let job = self.0.job_id;
        let asked = TasksAfter {
            job,
            after: begin,
            limit,
        };
        let found = context.data_unchecked::<Loaders>().load_one(asked).await?;
        let Some(found) = found else {
            return Err(Fault(api(context).missing_job(job).await));
        };
        let more = begin.saturating_add(limit) < found.total;
        let edge = |task: crate::api::view::TaskView| {
            let key = task.task_id.number.to_be_bytes();
            (cursor(b't', &key), Task(task))
        };
        let total = i64::from(found.total);
        Ok(counted(begin > 0, more, total, found.tasks.into_iter().map(edge)))
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
        event::history(context, StreamId::Job(self.0.job_id), (first, after), order).await
    }

    /// Why it is not further, and what would change that: an object with a reason, a sentence and what is known.
    #[graphql(complexity = "EXPLANATION")]
    async fn explain(&self, context: &Context<'_>) -> Answer<Json> {
        Ok(Json::of(&api(context).explain_job(self.0.job_id).await?))
    }

    /// The document as it was submitted.
    #[graphql(complexity = "10 + child_complexity")]
    async fn document(&self, context: &Context<'_>) -> Answer<Document> {
        let job = self.0.job_id;
        let found = context.data_unchecked::<Loaders>().load_one(DocumentOf(job)).await?;
        let Some(found) = found else {
            return Err(Fault(api(context).missing_job(job).await));
        };
        Ok(Document {
            content_type: found.0,
            text: String::from_utf8(found.1).map_err(|error| Problem::internal("show a document", &error))?,
        })
    }
}

/// A job as it was.
#[derive(SimpleObject)]
pub struct JobAsOf {
    pub job: Job,
    pub as_of: DateTime,
    /// The time is not over yet, as far as the job's shard is concerned: what happened then may not all be written.
    pub provisional: bool,
}

/// A job's document.
#[derive(SimpleObject)]
pub struct Document {
    /// `application/json` or `application/yaml`.
    content_type: String,
    text: String,
}

pub fn api<'a>(context: &Context<'a>) -> &'a Arc<Api> {
    context.data_unchecked()
}
