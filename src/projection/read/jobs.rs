//! Rows of jobs.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{Reading, at};
use crate::domain::{Counters, JobId, Labels, ShardId, Timestamp};

/// A job as its row tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    pub id: JobId,
    pub external_id: Option<String>,
    pub labels: Labels,
    pub task_count: u32,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub counters: Counters,
    /// Derived by the database, by the same cases as [`Counters::status`].
    pub status: String,
}

pub(super) const COLUMNS: &str = "j.id, j.external_id, j.labels, j.task_count, j.created_at, j.finished_at, j.status, \
    j.ready, j.scheduled, j.running, j.completed, j.failed, j.retries_pending, \
    ARRAY[j.final_error, j.final_timeout, j.final_killed, j.final_worker_lost, j.final_handed_back, \
    j.final_invalid_dag, j.final_authentication, j.final_unrecoverable]";

pub(super) fn read(row: &PgRow) -> Result<JobRow, sqlx::Error> {
    let count = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<i32, _>(column)?.max(0).unsigned_abs());
    let mut finally_failed = [0; 8];
    for (slot, value) in finally_failed.iter_mut().zip(row.try_get::<Vec<i32>, _>(13)?) {
        *slot = value.max(0).unsigned_abs();
    }
    Ok(JobRow {
        id: JobId(row.try_get(0)?),
        external_id: row.try_get(1)?,
        labels: row.try_get::<Json<Labels>, _>(2)?.0,
        task_count: count(3)?,
        created_at: row.try_get::<DateTime<Utc>, _>(4)?.into(),
        finished_at: at(row.try_get(5)?),
        status: row.try_get(6)?,
        counters: Counters {
            ready: count(7)?,
            scheduled: count(8)?,
            running: count(9)?,
            completed: count(10)?,
            failed: count(11)?,
            retries_pending: count(12)?,
            finally_failed,
        },
    })
}

pub(super) fn read_all(rows: &[PgRow]) -> Result<Vec<JobRow>, sqlx::Error> {
    rows.iter().map(read).collect()
}

impl Reading {
    /// # Errors
    /// When the database does not answer.
    pub async fn job(&self, job: JobId) -> Result<Option<JobRow>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM grid_read.jobs j WHERE j.id = $1");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(job.0)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Jobs of these shards that are not finished, and those that finished since then; those that finished longest ago
    /// are left out first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs_to_measure(
        &self,
        shards: &[ShardId],
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<JobRow>, sqlx::Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM grid_read.jobs j WHERE COALESCE(j.finished_at, 'infinity') >= $1 AND j.shard = ANY($3)
             ORDER BY COALESCE(j.finished_at, 'infinity') DESC, j.created_at DESC, j.id DESC LIMIT $2"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(since.to_datetime())
            .bind(i64::from(limit))
            .bind(shards.iter().map(|shard| i32::from(shard.0)).collect::<Vec<_>>());
        read_all(&query.fetch_all(&self.pool).await?)
    }

    /// Which of the jobs there are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs_there(&self, jobs: &[JobId]) -> Result<HashSet<JobId>, sqlx::Error> {
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
        let query = sqlx::query_scalar("SELECT id FROM grid_read.jobs WHERE id = ANY($1)").bind(ids);
        let there: Vec<Uuid> = query.fetch_all(&self.pool).await?;
        Ok(there.into_iter().map(JobId).collect())
    }
}
