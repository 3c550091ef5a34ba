//! Tasks that wait for their retry, by due time.

use sqlx::{Postgres, QueryBuilder};
use tokio::time::Instant;

use super::Reading;
use super::tasks::{COLUMNS, TaskRow, read};
use crate::domain::{JobId, TaskId, Timestamp};

/// Where a scheduled retry stands in the list, the next one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryKey {
    pub due_at: Timestamp,
    pub task: TaskId,
}

/// Where a page of retries begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetriesFrom {
    /// After so many.
    Offset(u64),
    After(RetryKey),
}

impl RetryKey {
    pub fn to_bytes(self) -> Vec<u8> {
        let (at, job, number) = (self.due_at.as_ms(), self.task.job.0, self.task.number);
        [&at.to_be_bytes()[..], job.as_bytes(), &number.to_be_bytes()].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (job, number) = rest.split_first_chunk::<16>()?;
        Some(Self {
            due_at: Timestamp::from_ms(i64::from_be_bytes(*at)),
            task: TaskId {
                job: JobId(uuid::Uuid::from_bytes(*job)),
                number: u32::from_be_bytes(number.try_into().ok()?),
            },
        })
    }
}

impl TaskRow {
    /// `None`: it waits for no retry.
    pub fn retry_key(&self) -> Option<RetryKey> {
        self.next_retry_at.map(|due_at| RetryKey { due_at, task: self.id })
    }
}

impl Reading {
    /// How many retries are scheduled; of many, as of a moment ago.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retry_count(&self, job: Option<JobId>) -> Result<u64, sqlx::Error> {
        let count: i64 = match job {
            Some(job) => {
                let sql = "SELECT retries_pending::bigint FROM grid_read.jobs WHERE id = $1";
                let count = sqlx::query_scalar(sql).bind(job.0).fetch_optional(&self.pool).await?;
                count.unwrap_or(0)
            }
            None => {
                if let Some(total) = self.retry_totals.get(&()) {
                    return Ok(total);
                }
                let begun = Instant::now();
                let sql = "SELECT count(*) FROM grid_read.tasks WHERE next_retry_at IS NOT NULL";
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await?;
                self.retry_totals.keep(&(), count.max(0).unsigned_abs(), begun);
                count
            }
        };
        Ok(count.max(0).unsigned_abs())
    }

    /// `limit` tasks that wait for their retry, the next due first; those of a job, or all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retries(
        &self,
        job: Option<JobId>,
        from: RetriesFrom,
        limit: u32,
    ) -> Result<Vec<TaskRow>, sqlx::Error> {
        let select = format!("SELECT {COLUMNS} FROM grid_read.tasks WHERE next_retry_at IS NOT NULL");
        let mut sql = QueryBuilder::<Postgres>::new(select);
        if let Some(job) = job {
            sql.push(" AND job = ").push_bind(job.0);
        }
        if let RetriesFrom::After(RetryKey { due_at, task }) = from {
            // A job's are found by an index of their own, whose order is the same within the job.
            let columns = if job.is_some() {
                "(next_retry_at, number)"
            } else {
                "(next_retry_at, job, number)"
            };
            sql.push(format_args!(" AND {columns} > ("));
            sql.push_bind(due_at.to_datetime()).push(", ");
            if job.is_none() {
                sql.push_bind(task.job.0).push(", ");
            }
            sql.push_bind(task.number as i32).push(")");
        }
        sql.push(if job.is_some() {
            " ORDER BY next_retry_at, number"
        } else {
            " ORDER BY next_retry_at, job, number"
        });
        sql.push(" LIMIT ").push_bind(i64::from(limit));
        if let RetriesFrom::Offset(offset) = from {
            sql.push(" OFFSET ")
                .push_bind(i64::try_from(offset).unwrap_or(i64::MAX));
        }
        sql.build().fetch_all(&self.pool).await?.iter().map(read).collect()
    }
}
