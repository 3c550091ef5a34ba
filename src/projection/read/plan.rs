//! What all tasks of a job have in common, read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Reading;
use crate::domain::{GroupIndex, JobId, JobSpec, TaskPlace, Timestamp};

/// A job's specification, and when it was submitted.
#[derive(Clone, Debug)]
pub struct Plan {
    pub created_at: Timestamp,
    pub spec: JobSpec,
    index: GroupIndex,
}

impl Plan {
    /// Where a task stands in the document; `None` when the job has no such task.
    pub fn place(&self, number: u32) -> Option<TaskPlace<'_>> {
        self.index.place(&self.spec, number)
    }

    pub fn max_retries(&self, place: &TaskPlace<'_>) -> u16 {
        self.spec
            .policies
            .get(place.group.policy as usize)
            .map_or(0, |policy| policy.retry.max_retries)
    }
}

/// The last few small ones. They never change.
#[derive(Clone, Debug, Default)]
pub(super) struct Plans(Arc<Mutex<HashMap<JobId, Arc<Plan>>>>);

const MOST_KEPT: usize = 256;
/// Bigger ones are read each time, so that what is kept stays within some 16 MiB.
const KEPT_BYTES: usize = 64 * 1024;

impl Plans {
    pub(super) fn get(&self, job: JobId) -> Option<Arc<Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Of a row of creation and specification.
    pub(super) fn read(&self, job: JobId, row: &PgRow) -> Result<Arc<Plan>, sqlx::Error> {
        let text: &str = row.try_get(1)?;
        let spec: JobSpec = serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let created_at = row.try_get::<chrono::DateTime<chrono::Utc>, _>(0)?.into();
        let plan = Arc::new(Plan {
            created_at,
            index: GroupIndex::new(&spec),
            spec,
        });
        if text.len() <= KEPT_BYTES {
            self.keep(job, Arc::clone(&plan));
        }
        Ok(plan)
    }

    fn keep(&self, job: JobId, plan: Arc<Plan>) {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MOST_KEPT {
            plans.clear();
        }
        plans.insert(job, plan);
    }
}

impl Reading {
    /// # Errors
    /// When the database does not answer, or its row cannot be read.
    pub async fn plan(&self, job: JobId) -> Result<Option<Arc<Plan>>, sqlx::Error> {
        if let Some(plan) = self.plans.get(job) {
            return Ok(Some(plan));
        }
        let sql = "SELECT j.created_at, s.spec::text FROM grid_read.jobs j JOIN grid_read.job_specs s USING (id)
                   WHERE j.id = $1";
        let Some(row) = sqlx::query(sql).bind(job.0).fetch_optional(&self.pool).await? else {
            return Ok(None);
        };
        self.plans.read(job, &row).map(Some)
    }
}
