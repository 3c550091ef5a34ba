//! What lists and search are found by, compared: names, labels, blocks of tasks, totals.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::expected::ExpectedJob;
use super::{ReadModelWitness, differs, rows};
use crate::domain::{JobId, Timestamp};
use crate::log::{Difference, Error};

/// Value, time and the job's tasks, by name.
pub type Labels = BTreeMap<String, (String, Timestamp, u32)>;
/// Count, name and time, by the first number.
pub type TaskNames = BTreeMap<u32, (u32, String, Timestamp)>;
/// Tasks by state.
pub type Blocks = BTreeMap<u32, [i64; 5]>;

fn uuids(ids: &[JobId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}

impl rows::View {
    async fn labels(&mut self, jobs: &[JobId]) -> Result<HashMap<JobId, Labels>, Error> {
        let sql = "SELECT job, name, value, created_at, task_count FROM grid_read.job_labels WHERE job = ANY($1)";
        let mut found: HashMap<JobId, Labels> = HashMap::new();
        for row in sqlx::query(sql).bind(uuids(jobs)).fetch_all(self.connection()).await? {
            let tasks = row.try_get::<i32, _>(4)?.unsigned_abs();
            let label = (row.try_get(2)?, row.try_get::<DateTime<Utc>, _>(3)?.into(), tasks);
            let labels = found.entry(JobId(row.try_get(0)?)).or_default();
            labels.insert(row.try_get(1)?, label);
        }
        Ok(found)
    }

    async fn task_names(&mut self, jobs: &[JobId]) -> Result<HashMap<JobId, TaskNames>, Error> {
        let sql = "SELECT job, first_number, replicas, name, created_at FROM grid_read.task_names WHERE job = ANY($1)";
        let mut found: HashMap<JobId, TaskNames> = HashMap::new();
        for row in sqlx::query(sql).bind(uuids(jobs)).fetch_all(self.connection()).await? {
            let number = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<i32, _>(column)?.unsigned_abs());
            let name = (number(2)?, row.try_get(3)?, row.try_get::<DateTime<Utc>, _>(4)?.into());
            let names = found.entry(JobId(row.try_get(0)?)).or_default();
            names.insert(number(1)?, name);
        }
        Ok(found)
    }

    async fn blocks(&mut self, jobs: &[JobId]) -> Result<HashMap<JobId, Blocks>, Error> {
        let sql = "SELECT job, block, ARRAY[ready, scheduled, running, completed, failed]
                   FROM grid_read.task_blocks WHERE job = ANY($1)";
        let mut found: HashMap<JobId, Blocks> = HashMap::new();
        for row in sqlx::query(sql).bind(uuids(jobs)).fetch_all(self.connection()).await? {
            let mut states = [0; 5];
            for (slot, count) in states.iter_mut().zip(row.try_get::<Vec<i32>, _>(2)?) {
                *slot = i64::from(count);
            }
            let blocks = found.entry(JobId(row.try_get(0)?)).or_default();
            blocks.insert(row.try_get::<i32, _>(1)?.unsigned_abs(), states);
        }
        Ok(found)
    }
}

impl ReadModelWitness {
    pub(super) async fn compare_listed(
        &self,
        view: &mut rows::View,
        jobs: &[&ExpectedJob],
        found: &mut Vec<Difference>,
    ) -> Result<(), Error> {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id()).collect();
        let labels = view.labels(&ids).await?;
        let names = view.task_names(&ids).await?;
        let blocks = view.blocks(&ids).await?;
        for job in jobs {
            let id = job.id();
            let got = labels.get(&id).cloned().unwrap_or_default();
            if got != job.labels() {
                found.push(differs(self.shard, "job_labels", job.labels(), got).of_job(id));
            }
            let got = names.get(&id).cloned().unwrap_or_default();
            if got != job.task_names() {
                found.push(differs(self.shard, "task_names", job.task_names(), got).of_job(id));
            }
            let (want, got) = (job.blocks(), blocks.get(&id).cloned().unwrap_or_default());
            for block in want.keys().chain(got.keys().filter(|block| !want.contains_key(block))) {
                let (want, got) = (want.get(block), got.get(block));
                if want != got {
                    found.push(differs(self.shard, &format!("task_blocks[{block}]"), want, got).of_job(id));
                }
            }
        }
        Ok(())
    }

    /// The totals of the shard are the sums of its jobs.
    pub(super) async fn compare_totals(&self, found: &mut Vec<Difference>) -> Result<(), Error> {
        let sql = "
            SELECT ARRAY[c.jobs, c.ready, c.scheduled, c.running, c.completed, c.failed], (
                SELECT ARRAY[count(*), COALESCE(sum(ready), 0), COALESCE(sum(scheduled), 0), COALESCE(sum(running), 0),
                    COALESCE(sum(completed), 0), COALESCE(sum(failed), 0)]
                FROM grid_read.jobs j WHERE j.shard = c.shard)
            FROM grid_read.projection_cursors c WHERE c.shard = $1";
        let query = sqlx::query(sql).bind(i32::from(self.shard.0));
        if let Some(row) = query.fetch_optional(&self.pool).await? {
            let (got, want): (Vec<i64>, Vec<i64>) = (row.try_get(0)?, row.try_get(1)?);
            if got != want {
                found.push(differs(
                    self.shard,
                    "projection_cursors: jobs and tasks by state",
                    want,
                    got,
                ));
            }
        }
        Ok(())
    }
}
