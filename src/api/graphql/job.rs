//! A job as GraphQL shows it.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};

use super::fault::Answer;
use super::scalar::{DateTime, Json};
use crate::api::Api;
use crate::api::view::JobView;
use crate::domain::JobId;

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
}

pub fn api<'a>(context: &Context<'a>) -> &'a Arc<Api> {
    context.data_unchecked()
}

/// # Errors
/// 404, 410, or 503.
pub async fn find(context: &Context<'_>, id: JobId) -> Answer<Job> {
    Ok(Job(api(context).job(id).await?))
}
