//! Jobs and tasks as they were at a time.
//!
//! Must stay true: what is reached from an object as it was is as it was too, unless its description says otherwise.

use async_graphql::{Context, SimpleObject};

use super::fault::Answer;
use super::job::{Job, api, numbered};
use super::list::Counted;
use super::scalar::DateTime;
use super::task::Task;
use crate::api::as_of::AsOf;
use crate::api::view::{JobView, TaskView};
use crate::domain::{JobId, Timestamp};

/// What a field of an object as it was costs, beside one of an object as it is: it is folded from some events, where the
/// other is read from a row.
const FOLDED: usize = 4;

/// The time at which an object was so.
#[derive(Clone, Copy)]
pub struct Then {
    pub at: Timestamp,
    /// Of the last event of its own stream; 0: it had none yet.
    pub version: u32,
}

impl Then {
    /// Up to `limit` tasks of a job after a number, as they were.
    ///
    /// # Errors
    /// 410 when its day was archived; 422 when too many events would have to be read; 503 when the log does not answer.
    pub async fn tasks(self, context: &Context<'_>, job: JobId, (begin, limit): (u32, u32)) -> Answer<Counted<Task>> {
        let found = api(context).tasks_as_of(job, (begin, limit), self.at).await?;
        let task = |(view, version)| Task::then(view, Self { version, ..self });
        Ok(numbered((begin, limit), found.total, found.tasks.into_iter().map(task)))
    }
}

/// What looking back costs, with so many fields.
pub const fn cost(fields: usize) -> usize {
    fields.saturating_mul(FOLDED).saturating_add(100)
}

/// A job as it was, with its tasks and events.
#[derive(SimpleObject)]
pub struct JobAsOf {
    pub job: Job,
    pub as_of: DateTime,
    /// The time is not over yet, as far as the job's shard is concerned: what happened then may not all be written.
    pub provisional: bool,
}

/// A task as it was, with its attempts and events.
#[derive(SimpleObject)]
pub struct TaskAsOf {
    pub task: Task,
    pub as_of: DateTime,
    /// The time is not over yet, as far as the task's shard is concerned: what happened then may not all be written.
    pub provisional: bool,
}

impl From<AsOf<JobView>> for JobAsOf {
    fn from(seen: AsOf<JobView>) -> Self {
        let then = Then {
            at: seen.as_of,
            version: seen.version,
        };
        Self {
            job: Job::then(seen.object, then),
            as_of: seen.as_of.into(),
            provisional: seen.provisional,
        }
    }
}

impl From<AsOf<TaskView>> for TaskAsOf {
    fn from(seen: AsOf<TaskView>) -> Self {
        let then = Then {
            at: seen.as_of,
            version: seen.version,
        };
        Self {
            task: Task::then(seen.object, then),
            as_of: seen.as_of.into(),
            provisional: seen.provisional,
        }
    }
}
