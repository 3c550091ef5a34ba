//! Rows of tasks.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Reading, at};
use crate::domain::event::{Failure, FailureReason, TaskState};
use crate::domain::{JobId, TaskId, Timestamp};
use crate::projection::change::BLOCK_TASKS;

/// A task as its row tells it. The times, the worker and the failure are those of the present attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    pub id: TaskId,
    pub state: TaskState,
    pub attempt: u32,
    pub retry_count: u32,
    pub next_retry_at: Option<Timestamp>,
    pub worker: Option<String>,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub failure: Option<Failure>,
}

impl TaskRow {
    /// A task that is not written out yet: it counts as READY.
    pub const fn unwritten(id: TaskId) -> Self {
        Self {
            id,
            state: TaskState::Ready,
            attempt: 0,
            retry_count: 0,
            next_retry_at: None,
            worker: None,
            scheduled_at: None,
            started_at: None,
            finished_at: None,
            failure: None,
        }
    }
}

pub(super) const COLUMNS: &str = "job, number, state, attempt, retry_count, next_retry_at, worker, scheduled_at, \
    started_at, finished_at, reason, failure::text";

/// The same columns, of a table by that name.
pub(super) fn of(table: &str) -> String {
    let columns = COLUMNS.split(", ").map(|column| format!("{table}.{}", column.trim()));
    columns.collect::<Vec<_>>().join(", ")
}

pub(super) fn read(row: &PgRow) -> Result<TaskRow, sqlx::Error> {
    let state: &str = row.try_get(2)?;
    let state = TaskState::ALL.into_iter().find(|known| known.name() == state);
    let reason: Option<&str> = row.try_get(10)?;
    let reason = reason.and_then(|reason| FailureReason::ALL.into_iter().find(|known| known.name() == reason));
    let failure: Option<&str> = row.try_get(11)?;
    let failure: Option<Failure> = failure.and_then(|text| serde_json::from_str(text).ok());
    Ok(TaskRow {
        id: TaskId {
            job: JobId(row.try_get(0)?),
            number: row.try_get::<i32, _>(1)?.unsigned_abs(),
        },
        state: state.ok_or_else(|| sqlx::Error::Decode("an unknown state of a task".into()))?,
        attempt: row.try_get::<i32, _>(3)?.unsigned_abs(),
        retry_count: u32::from(row.try_get::<i16, _>(4)?.unsigned_abs()),
        next_retry_at: at(row.try_get(5)?),
        worker: row.try_get(6)?,
        scheduled_at: at(row.try_get(7)?),
        started_at: at(row.try_get(8)?),
        finished_at: at(row.try_get(9)?),
        // A cancelled retry changes why it has failed, not what was seen of it.
        failure: reason.map(|reason| Failure {
            reason,
            ..failure.unwrap_or_else(|| Failure::new(reason, String::new()))
        }),
    })
}

impl Reading {
    /// `None`: it has no row, because its job is not there, has no such task, or has not written it out yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task(&self, task: TaskId) -> Result<Option<TaskRow>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM grid_read.tasks WHERE job = $1 AND number = $2");
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(task.job.0)
            .bind(task.number as i32);
        query.fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
    }

    /// Of a job's tasks that are not finished some that stand for the others: the first and the last that is READY, one
    /// that is SCHEDULED, one that runs, and the one whose retry is due first. Of a large job the blocks say where to
    /// look, up to the last task that is written out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn samples(&self, job: JobId) -> Result<Vec<TaskId>, sqlx::Error> {
        // A job without blocks is one of its own.
        let in_block = |state: &str, block: &str, order: &str| {
            format!(
                "SELECT t.number FROM blocks b CROSS JOIN LATERAL (
                     SELECT number FROM grid_read.tasks
                     WHERE job = $1 AND number > {BLOCK_TASKS} * b.{block} AND number <= {BLOCK_TASKS} * (b.{block} + 1)
                     AND state = '{state}' ORDER BY number {order} LIMIT 1
                 ) t"
            )
        };
        let sql = format!(
            "WITH counted AS (
                 SELECT count(*) AS blocks, min(block) FILTER (WHERE ready > 0) AS ready,
                     max(block) FILTER (WHERE ready > 0) AS last_ready,
                     min(block) FILTER (WHERE scheduled > 0) AS scheduled,
                     min(block) FILTER (WHERE running > 0) AS running
                 FROM grid_read.task_blocks WHERE job = $1
                 AND block <= (SELECT (max(number) - 1) / {BLOCK_TASKS} FROM grid_read.tasks WHERE job = $1)
             ), blocks AS (
                 SELECT CASE blocks WHEN 0 THEN 0 ELSE ready END AS ready,
                     CASE blocks WHEN 0 THEN 0 ELSE last_ready END AS last_ready,
                     CASE blocks WHEN 0 THEN 0 ELSE scheduled END AS scheduled,
                     CASE blocks WHEN 0 THEN 0 ELSE running END AS running
                 FROM counted
             )
             {} UNION {} UNION {} UNION {} UNION (
                 SELECT number FROM grid_read.tasks WHERE job = $1 AND next_retry_at IS NOT NULL
                 ORDER BY next_retry_at, number LIMIT 1
             ) ORDER BY number",
            in_block("READY", "ready", "ASC"),
            in_block("READY", "last_ready", "DESC"),
            in_block("SCHEDULED", "scheduled", "ASC"),
            in_block("RUNNING", "running", "ASC"),
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(job.0);
        let numbers: Vec<i32> = query.fetch_all(&self.pool).await?;
        let task = |number: i32| TaskId {
            job,
            number: number.unsigned_abs(),
        };
        Ok(numbers.into_iter().map(task).collect())
    }
}
