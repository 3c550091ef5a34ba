//! Rows of what has just changed, each with how far its shard's rows are: in one statement, so that both are of one
//! moment.

use sqlx::{AssertSqlSafe, Row};

use super::{JobRow, Reading, TaskRow, WorkerRow, jobs, tasks, workers};
use crate::domain::{JobId, Seq, ShardId, TaskId};

/// A row, and the places of its shard that it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    pub row: T,
    /// The last event that changed the row; 0 when that is not kept.
    pub changed: Seq,
    /// Everything of the shard up to here is in the row.
    pub through: Seq,
}

fn seq(row: &sqlx::postgres::PgRow, column: &str) -> Result<Seq, sqlx::Error> {
    Ok(Seq(row.try_get::<i64, _>(column)?.max(0).unsigned_abs()))
}

impl Reading {
    /// Those of the jobs that are there, in any order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs_at(&self, ids: &[JobId]) -> Result<Vec<At<JobRow>>, sqlx::Error> {
        let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
        let sql = format!(
            "SELECT {}, j.seq AS changed_seq, c.seq AS through_seq
             FROM grid_read.jobs j JOIN grid_read.projection_cursors c ON c.shard = j.shard WHERE j.id = ANY($1)",
            jobs::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(ids).fetch_all(&self.pool).await?;
        let at = |row| {
            Ok(At {
                row: jobs::read(row)?,
                changed: seq(row, "changed_seq")?,
                through: seq(row, "through_seq")?,
            })
        };
        rows.iter().map(at).collect()
    }

    /// Those of the tasks whose jobs are there, in any order; one that is not written out yet counts as READY.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tasks_at(&self, ids: &[TaskId]) -> Result<Vec<At<TaskRow>>, sqlx::Error> {
        let (jobs, numbers): (Vec<uuid::Uuid>, Vec<i32>) = ids.iter().map(|id| (id.job.0, id.number as i32)).unzip();
        let sql = format!(
            "SELECT {}, k.job AS asked_job, k.number AS asked_number, c.seq AS through_seq
             FROM unnest($1::uuid[], $2::int[]) AS k(job, number)
             JOIN grid_read.jobs j ON j.id = k.job
             JOIN grid_read.projection_cursors c ON c.shard = j.shard
             LEFT JOIN grid_read.tasks t ON t.job = k.job AND t.number = k.number",
            tasks::of("t")
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(jobs).bind(numbers);
        let rows = query.fetch_all(&self.pool).await?;
        let at = |row: &sqlx::postgres::PgRow| {
            let id = TaskId {
                job: JobId(row.try_get("asked_job")?),
                number: row.try_get::<i32, _>("asked_number")?.unsigned_abs(),
            };
            let written = row.try_get::<Option<uuid::Uuid>, _>(0)?.is_some();
            Ok(At {
                row: if written {
                    tasks::read(row)?
                } else {
                    TaskRow::unwritten(id)
                },
                changed: Seq(0),
                through: seq(row, "through_seq")?,
            })
        };
        rows.iter().map(at).collect()
    }

    /// Every worker with the shard and the place of its last event, in the order of these.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workers_at(&self) -> Result<Vec<(ShardId, At<WorkerRow>)>, sqlx::Error> {
        let sql = format!(
            "SELECT {}, shard, seq AS changed_seq FROM grid_read.workers ORDER BY shard, seq",
            workers::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        let at = |row: &sqlx::postgres::PgRow| {
            let changed = seq(row, "changed_seq")?;
            let shard = ShardId(u16::try_from(row.try_get::<i32, _>("shard")?).unwrap_or(u16::MAX));
            Ok((
                shard,
                At {
                    row: workers::read(row)?,
                    changed,
                    through: changed,
                },
            ))
        };
        rows.iter().map(at).collect()
    }

    /// How far the rows of each shard are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cursors(&self) -> Result<Vec<(ShardId, Seq)>, sqlx::Error> {
        let rows = sqlx::query("SELECT shard, seq FROM grid_read.projection_cursors ORDER BY shard")
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let shard = u16::try_from(row.try_get::<i32, _>("shard")?).unwrap_or(u16::MAX);
            Ok((ShardId(shard), seq(row, "seq")?))
        };
        rows.iter().map(read).collect()
    }
}
