//! Rows that are asked for by many keys at once: what belongs to the items of a list, in one statement for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{Plan, Reading, TaskRow, WorkerRow, at, tasks, workers};
use crate::domain::event::{Failure, FailureReason};
use crate::domain::{JobId, TaskId, Timestamp, WorkerName};

/// An attempt that another has followed.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    pub task: TaskId,
    pub attempt: u32,
    pub worker: Option<String>,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub failure: Option<Failure>,
}

/// The tasks `first` to `last` of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskRange {
    pub job: JobId,
    pub first: u32,
    pub last: u32,
}

fn task_id(row: &PgRow) -> Result<TaskId, sqlx::Error> {
    Ok(TaskId {
        job: JobId(row.try_get("job")?),
        number: row.try_get::<i32, _>("number")?.unsigned_abs(),
    })
}

fn attempt(row: &PgRow) -> Result<AttemptRow, sqlx::Error> {
    let reason: Option<&str> = row.try_get("reason")?;
    let reason = reason.and_then(|reason| FailureReason::ALL.into_iter().find(|known| known.name() == reason));
    let failure: Option<&str> = row.try_get("failure")?;
    let failure: Option<Failure> = failure.and_then(|text| serde_json::from_str(text).ok());
    Ok(AttemptRow {
        task: task_id(row)?,
        attempt: row.try_get::<i32, _>("attempt")?.unsigned_abs(),
        worker: row.try_get("worker")?,
        scheduled_at: at(row.try_get("scheduled_at")?),
        started_at: at(row.try_get("started_at")?),
        finished_at: at(row.try_get("finished_at")?),
        failure: reason.map(|reason| Failure {
            reason,
            ..failure.unwrap_or_else(|| Failure::new(reason, String::new()))
        }),
    })
}

impl Reading {
    /// The plans of those of the jobs that are there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn plans(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Arc<Plan>>, sqlx::Error> {
        let mut plans: HashMap<JobId, Arc<Plan>> = HashMap::new();
        let mut missing: Vec<Uuid> = Vec::new();
        for job in jobs {
            match self.plans.get(*job) {
                Some(plan) => drop(plans.insert(*job, plan)),
                None => missing.push(job.0),
            }
        }
        if missing.is_empty() {
            return Ok(plans);
        }
        let sql = "SELECT j.created_at, s.spec::text, j.id FROM grid_read.jobs j JOIN grid_read.job_specs s USING (id)
                   WHERE j.id = ANY($1)";
        for row in sqlx::query(sql).bind(missing).fetch_all(&self.pool).await? {
            let job = JobId(row.try_get(2)?);
            plans.insert(job, self.plans.read(job, &row)?);
        }
        Ok(plans)
    }

    /// The rows of tasks that are written out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_ranges(&self, ranges: &[TaskRange]) -> Result<HashMap<TaskId, TaskRow>, sqlx::Error> {
        let jobs: Vec<Uuid> = ranges.iter().map(|range| range.job.0).collect();
        let firsts: Vec<i32> = ranges.iter().map(|range| range.first as i32).collect();
        let lasts: Vec<i32> = ranges.iter().map(|range| range.last as i32).collect();
        let sql = format!(
            "SELECT {} FROM unnest($1::uuid[], $2::int[], $3::int[]) AS k(job, first, last)
             JOIN grid_read.tasks t ON t.job = k.job AND t.number BETWEEN k.first AND k.last",
            tasks::of("t")
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(jobs).bind(firsts).bind(lasts);
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| tasks::read(row).map(|task| (task.id, task)))
            .collect()
    }

    /// The attempts of tasks that others have followed, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn earlier_attempts(&self, ids: &[TaskId]) -> Result<Vec<AttemptRow>, sqlx::Error> {
        let (jobs, numbers): (Vec<Uuid>, Vec<i32>) = ids.iter().map(|id| (id.job.0, id.number as i32)).unzip();
        let sql = "SELECT a.job, a.number, a.attempt, a.worker, a.scheduled_at, a.started_at, a.finished_at, a.reason,
                       a.failure::text AS failure
                   FROM unnest($1::uuid[], $2::int[]) AS k(job, number)
                   JOIN grid_read.attempts a ON a.job = k.job AND a.number = k.number ORDER BY a.attempt";
        let rows = sqlx::query(sql).bind(jobs).bind(numbers).fetch_all(&self.pool).await?;
        rows.iter().map(attempt).collect()
    }

    /// Those of the workers that are there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workers_of(&self, names: &[WorkerName]) -> Result<Vec<WorkerRow>, sqlx::Error> {
        let names: Vec<&str> = names.iter().map(WorkerName::as_str).collect();
        let sql = format!(
            "SELECT {} FROM grid_read.workers WHERE name = ANY($1)",
            workers::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(names)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(workers::read).collect()
    }
}
