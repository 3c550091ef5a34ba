//! The rows as they are, read for the comparison alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Postgres, Row, Transaction};
use uuid::Uuid;

use super::expected::Differing;
use crate::domain::{JobId, Labels, Seq, ShardId, TaskId, Timestamp};
use crate::log::Error;

#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    pub shard: i64,
    pub external_id: Option<String>,
    pub labels: Labels,
    pub document_hash: String,
    pub principal: String,
    pub task_count: i64,
    pub max_parallel: Option<i64>,
    pub deadline: Option<Timestamp>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// In the order of [`COUNTS`].
    pub counts: Vec<i64>,
    pub status: String,
    pub seq: Seq,
}

const COUNTS: [&str; 14] = [
    "ready",
    "scheduled",
    "running",
    "completed",
    "failed",
    "retries_pending",
    "final_error",
    "final_timeout",
    "final_killed",
    "final_worker_lost",
    "final_handed_back",
    "final_invalid_dag",
    "final_authentication",
    "final_unrecoverable",
];

#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    pub state: String,
    pub attempt: i64,
    pub retry_count: i64,
    pub next_retry_at: Option<Timestamp>,
    pub worker: Option<String>,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub failure: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    pub scheduled_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub worker: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRow {
    pub incarnation: Uuid,
    pub endpoint_url: String,
    pub max_capacity: i64,
    pub labels: Labels,
    pub registered_at: Timestamp,
    pub created_at: Timestamp,
    pub left_at: Option<Timestamp>,
    pub left_cause: Option<String>,
    pub cordoned: bool,
    pub draining: bool,
    pub seq: Seq,
}

fn note<T: PartialEq + Debug>(differing: &mut Differing, column: &'static str, expected: &T, found: &T) {
    if expected != found {
        differing.push((column, format!("{expected:?}"), format!("{found:?}")));
    }
}

impl JobRow {
    pub fn differences(&self, found: &Self) -> Differing {
        let mut differing = Vec::new();
        note(&mut differing, "shard", &self.shard, &found.shard);
        note(&mut differing, "external_id", &self.external_id, &found.external_id);
        note(&mut differing, "labels", &self.labels, &found.labels);
        note(
            &mut differing,
            "document_hash",
            &self.document_hash,
            &found.document_hash,
        );
        note(&mut differing, "principal", &self.principal, &found.principal);
        note(&mut differing, "task_count", &self.task_count, &found.task_count);
        note(&mut differing, "max_parallel", &self.max_parallel, &found.max_parallel);
        note(&mut differing, "deadline", &self.deadline, &found.deadline);
        note(&mut differing, "created_at", &self.created_at, &found.created_at);
        note(&mut differing, "finished_at", &self.finished_at, &found.finished_at);
        note(&mut differing, "status", &self.status, &found.status);
        note(&mut differing, "seq", &self.seq, &found.seq);
        for ((column, expected), found) in COUNTS.iter().zip(&self.counts).zip(&found.counts) {
            note(&mut differing, column, expected, found);
        }
        differing
    }
}

impl TaskRow {
    pub fn differences(&self, found: &Self) -> Differing {
        let mut differing = Vec::new();
        note(&mut differing, "state", &self.state, &found.state);
        note(&mut differing, "attempt", &self.attempt, &found.attempt);
        note(&mut differing, "retry_count", &self.retry_count, &found.retry_count);
        note(
            &mut differing,
            "next_retry_at",
            &self.next_retry_at,
            &found.next_retry_at,
        );
        note(&mut differing, "worker", &self.worker, &found.worker);
        note(&mut differing, "scheduled_at", &self.scheduled_at, &found.scheduled_at);
        note(&mut differing, "started_at", &self.started_at, &found.started_at);
        note(&mut differing, "finished_at", &self.finished_at, &found.finished_at);
        note(&mut differing, "reason", &self.reason, &found.reason);
        note(&mut differing, "failure", &self.failure, &found.failure);
        differing
    }
}

impl WorkerRow {
    pub fn differences(&self, found: &Self) -> Differing {
        let mut differing = Vec::new();
        note(&mut differing, "incarnation", &self.incarnation, &found.incarnation);
        note(&mut differing, "endpoint_url", &self.endpoint_url, &found.endpoint_url);
        note(&mut differing, "max_capacity", &self.max_capacity, &found.max_capacity);
        note(&mut differing, "labels", &self.labels, &found.labels);
        note(
            &mut differing,
            "registered_at",
            &self.registered_at,
            &found.registered_at,
        );
        note(&mut differing, "created_at", &self.created_at, &found.created_at);
        note(&mut differing, "left_at", &self.left_at, &found.left_at);
        note(&mut differing, "left_cause", &self.left_cause, &found.left_cause);
        note(&mut differing, "cordoned", &self.cordoned, &found.cordoned);
        note(&mut differing, "draining", &self.draining, &found.draining);
        note(&mut differing, "seq", &self.seq, &found.seq);
        differing
    }
}

fn at(time: Option<DateTime<Utc>>) -> Option<Timestamp> {
    time.map(Timestamp::from)
}

fn job_row(row: &PgRow) -> Result<JobRow, sqlx::Error> {
    Ok(JobRow {
        shard: row.try_get::<i32, _>(0)?.into(),
        external_id: row.try_get(1)?,
        labels: row.try_get::<Json<Labels>, _>(2)?.0,
        document_hash: row.try_get(3)?,
        principal: row.try_get(4)?,
        task_count: row.try_get::<i32, _>(5)?.into(),
        max_parallel: row.try_get::<Option<i32>, _>(6)?.map(i64::from),
        deadline: at(row.try_get(7)?),
        created_at: row.try_get::<DateTime<Utc>, _>(8)?.into(),
        finished_at: at(row.try_get(9)?),
        counts: row.try_get::<Vec<i32>, _>(10)?.into_iter().map(i64::from).collect(),
        status: row.try_get(11)?,
        seq: Seq(row.try_get::<i64, _>(12)? as u64),
    })
}

fn uuids(ids: &[JobId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}

/// By task and attempt.
pub type Attempts = BTreeMap<(u32, u32), AttemptRow>;

/// One view of the tables, as of one moment.
pub struct View(Transaction<'static, Postgres>);

impl View {
    pub async fn begin(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self(
            pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?,
        ))
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    pub async fn end(self) -> Result<(), Error> {
        Ok(self.0.rollback().await?)
    }

    /// How far the shard's rows are in this view.
    pub async fn cursor(&mut self, shard: ShardId) -> Result<Seq, Error> {
        let sql = "SELECT seq FROM grid_read.projection_cursors WHERE shard = $1";
        let seq: Option<i64> = sqlx::query_scalar(sql)
            .bind(i32::from(shard.0))
            .fetch_optional(&mut *self.0)
            .await?;
        Ok(Seq(seq.unwrap_or(0) as u64))
    }

    pub async fn jobs(&mut self, ids: &[JobId]) -> Result<HashMap<JobId, JobRow>, Error> {
        let sql = "
            SELECT shard, external_id, labels, document_hash, principal, task_count, max_parallel, deadline, created_at,
                finished_at, ARRAY[ready, scheduled, running, completed, failed, retries_pending, final_error,
                    final_timeout, final_killed, final_worker_lost, final_handed_back, final_invalid_dag,
                    final_authentication, final_unrecoverable], status, seq, id
            FROM grid_read.jobs WHERE id = ANY($1)";
        let rows = sqlx::query(sql).bind(uuids(ids)).fetch_all(&mut *self.0).await?;
        rows.iter()
            .map(|row| Ok((JobId(row.try_get(13)?), job_row(row)?)))
            .collect()
    }

    /// Those with `after < number <= last`.
    pub async fn tasks(&mut self, jobs: &[JobId], after: u32, last: u32) -> Result<HashMap<TaskId, TaskRow>, Error> {
        let sql = "
            SELECT number, state, attempt, retry_count, next_retry_at, worker, scheduled_at, started_at, finished_at,
                reason, failure, job
            FROM grid_read.tasks WHERE job = ANY($1) AND number > $2 AND number <= $3";
        let query = sqlx::query(sql)
            .bind(uuids(jobs))
            .bind(after as i32)
            .bind(i32::try_from(last).unwrap_or(i32::MAX));
        let mut tasks = HashMap::new();
        for row in query.fetch_all(&mut *self.0).await? {
            let task = TaskRow {
                state: row.try_get(1)?,
                attempt: row.try_get::<i32, _>(2)?.into(),
                retry_count: row.try_get::<i16, _>(3)?.into(),
                next_retry_at: at(row.try_get(4)?),
                worker: row.try_get(5)?,
                scheduled_at: at(row.try_get(6)?),
                started_at: at(row.try_get(7)?),
                finished_at: at(row.try_get(8)?),
                reason: row.try_get(9)?,
                failure: row.try_get(10)?,
            };
            let number = row.try_get::<i32, _>(0)?.unsigned_abs();
            tasks.insert(
                TaskId {
                    job: JobId(row.try_get(11)?),
                    number,
                },
                task,
            );
        }
        Ok(tasks)
    }

    pub async fn task_counts(&mut self, jobs: &[JobId]) -> Result<HashMap<JobId, i64>, Error> {
        let sql = "SELECT job, count(*) FROM grid_read.tasks WHERE job = ANY($1) GROUP BY job";
        let rows = sqlx::query(sql).bind(uuids(jobs)).fetch_all(&mut *self.0).await?;
        rows.iter()
            .map(|row| Ok((JobId(row.try_get(0)?), row.try_get(1)?)))
            .collect()
    }

    pub async fn attempts(&mut self, jobs: &[JobId]) -> Result<HashMap<JobId, Attempts>, Error> {
        let sql = "SELECT number, attempt, scheduled_at, started_at, finished_at, worker, reason, job
                   FROM grid_read.attempts WHERE job = ANY($1)";
        let mut attempts: HashMap<JobId, Attempts> = HashMap::new();
        for row in sqlx::query(sql).bind(uuids(jobs)).fetch_all(&mut *self.0).await? {
            let attempt = AttemptRow {
                scheduled_at: row.try_get::<DateTime<Utc>, _>(2)?.into(),
                started_at: at(row.try_get(3)?),
                finished_at: at(row.try_get(4)?),
                worker: row.try_get(5)?,
                reason: row.try_get(6)?,
            };
            let key = (
                row.try_get::<i32, _>(0)?.unsigned_abs(),
                row.try_get::<i32, _>(1)?.unsigned_abs(),
            );
            attempts.entry(JobId(row.try_get(7)?)).or_default().insert(key, attempt);
        }
        Ok(attempts)
    }

    pub async fn specs(&mut self, jobs: &[JobId]) -> Result<HashMap<JobId, String>, Error> {
        let sql = "SELECT id, spec::text FROM grid_read.job_specs WHERE id = ANY($1)";
        let rows = sqlx::query(sql).bind(uuids(jobs)).fetch_all(&mut *self.0).await?;
        rows.iter()
            .map(|row| Ok((JobId(row.try_get(0)?), row.try_get(1)?)))
            .collect()
    }
}

/// All workers of a shard, by name.
pub async fn workers(pool: &PgPool, shard: ShardId) -> Result<BTreeMap<String, WorkerRow>, Error> {
    let sql = "SELECT name, incarnation, endpoint_url, max_capacity, labels, registered_at, created_at, left_at,
                   left_cause, seq, cordoned, draining
               FROM grid_read.workers WHERE shard = $1";
    let mut workers = BTreeMap::new();
    for row in sqlx::query(sql).bind(i32::from(shard.0)).fetch_all(pool).await? {
        let worker = WorkerRow {
            incarnation: row.try_get(1)?,
            endpoint_url: row.try_get(2)?,
            max_capacity: row.try_get(3)?,
            labels: row.try_get::<Json<Labels>, _>(4)?.0,
            registered_at: row.try_get::<DateTime<Utc>, _>(5)?.into(),
            created_at: row.try_get::<DateTime<Utc>, _>(6)?.into(),
            left_at: at(row.try_get(7)?),
            left_cause: row.try_get(8)?,
            seq: Seq(row.try_get::<i64, _>(9)? as u64),
            cordoned: row.try_get(10)?,
            draining: row.try_get(11)?,
        };
        workers.insert(row.try_get(0)?, worker);
    }
    Ok(workers)
}
