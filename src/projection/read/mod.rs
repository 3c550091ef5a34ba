//! Reading the read models.
//!
//! Must stay true: a question is one or two statements found by key; none looks at rows that it does not give, but for a
//! page deep inside a list, which passes over the keys before it, and a total, which counts keys.

mod filter;
mod job_list;
mod job_total;
mod jobs;
mod live;
mod nested;
mod order;
mod overview;
mod plan;
mod retries;
mod search;
mod task_list;
mod tasks;
mod totals;
mod worker_list;
mod workers;

pub use filter::{JobFilter, LabelError, LabelFilter, LabelPair, Span, SpanError, TaskFilter, WorkerFilter};
pub use job_list::{JobKey, JobOrder, JobSort};
pub use jobs::JobRow;
pub use live::At;
pub use nested::{AttemptRow, TaskRange};
pub use order::{Direction, Order, OrderError, Slice, SortField, Start};
pub use overview::Overview;
pub use plan::Plan;
pub use retries::{RetriesFrom, RetryKey};
pub use search::{Hit, Matched};
pub use task_list::{TaskKey, TaskListError, TaskOrder, TaskSort};
pub use tasks::TaskRow;
pub use worker_list::{Among, WorkerKey, WorkerOrder, WorkerSort};
pub use workers::WorkerRow;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::Timestamp;

/// The live read models; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reading {
    pool: PgPool,
    plans: plan::Plans,
    totals: totals::Totals<JobFilter>,
    task_totals: totals::Totals<TaskFilter>,
    retry_totals: totals::Totals<()>,
}

impl Reading {
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            plans: plan::Plans::default(),
            totals: totals::Totals::default(),
            task_totals: totals::Totals::default(),
            retry_totals: totals::Totals::default(),
        }
    }

    /// Whether the read models are there and can be read.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1 FROM grid_read.projection_cursors LIMIT 1")
            .fetch_optional(&self.pool)
            .await
            .map(drop)
    }
}

fn at(time: Option<DateTime<Utc>>) -> Option<Timestamp> {
    time.map(Timestamp::from)
}
