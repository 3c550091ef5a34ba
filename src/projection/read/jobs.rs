//! Rows of jobs.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{Reading, at};
use crate::domain::{Counters, JobId, Labels, Timestamp};

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

/// Where a job stands in the list, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobKey {
    pub created_at: Timestamp,
    pub id: JobId,
}

impl JobRow {
    pub const fn key(&self) -> JobKey {
        JobKey {
            created_at: self.created_at,
            id: self.id,
        }
    }
}

const COLUMNS: &str = "j.id, j.external_id, j.labels, j.task_count, j.created_at, j.finished_at, j.status, \
    j.ready, j.scheduled, j.running, j.completed, j.failed, j.retries_pending, \
    ARRAY[j.final_error, j.final_timeout, j.final_killed, j.final_worker_lost, j.final_handed_back, \
    j.final_invalid_dag, j.final_authentication, j.final_unrecoverable]";

fn read(row: &PgRow) -> Result<JobRow, sqlx::Error> {
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

fn read_all(rows: &[PgRow]) -> Result<Vec<JobRow>, sqlx::Error> {
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

    /// How many jobs there are. Counted as they are written, not by looking at them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn job_count(&self) -> Result<u64, sqlx::Error> {
        let sql = "SELECT COALESCE(sum(jobs), 0)::bigint FROM grid_read.projection_cursors";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await?;
        Ok(count.max(0).unsigned_abs())
    }

    /// `limit` jobs, newest first, after the first `offset` of `total`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs(&self, offset: u64, limit: u32, total: u64) -> Result<Vec<JobRow>, sqlx::Error> {
        let left = total.saturating_sub(offset);
        if left == 0 {
            return Ok(Vec::new());
        }
        let limit = u64::from(limit).min(left);
        // From the end that is nearer: at most half of the keys are passed over.
        let behind = left - limit;
        let (order, skip) = if offset <= behind {
            ("DESC", offset)
        } else {
            ("ASC", behind)
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM (
                 SELECT created_at, id FROM grid_read.jobs ORDER BY created_at {order}, id {order} LIMIT $1 OFFSET $2
             ) k JOIN grid_read.jobs j USING (id) ORDER BY k.created_at DESC, k.id DESC"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(limit as i64).bind(skip as i64);
        read_all(&query.fetch_all(&self.pool).await?)
    }

    /// `limit` jobs, newest first, that come after `key`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs_after(&self, key: JobKey, limit: u32) -> Result<Vec<JobRow>, sqlx::Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM grid_read.jobs j WHERE (j.created_at, j.id) < ($1, $2)
             ORDER BY j.created_at DESC, j.id DESC LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(key.created_at.to_datetime())
            .bind(key.id.0);
        read_all(&query.bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }
}

impl JobKey {
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.created_at.as_ms().to_be_bytes()[..], self.id.0.as_bytes()].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, id) = bytes.split_first_chunk::<8>()?;
        let id = JobId(Uuid::from_slice(id).ok()?);
        Some(Self {
            created_at: Timestamp::from_ms(i64::from_be_bytes(*at)),
            id,
        })
    }
}
