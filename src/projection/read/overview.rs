//! The whole at a glance.

use sqlx::Row;

use super::Reading;

/// How many jobs there are, and how the tasks of the unfinished ones are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    pub jobs: u64,
    pub unfinished_jobs: u64,
    pub ready: u64,
    pub scheduled: u64,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
    pub retries_pending: u64,
}

impl Reading {
    /// # Errors
    /// When the database does not answer.
    pub async fn overview(&self) -> Result<Overview, sqlx::Error> {
        // As the index of the ends has it: unfinished ones alone are looked at.
        let sql = "SELECT (SELECT COALESCE(sum(jobs), 0)::bigint FROM grid_read.projection_cursors), count(*),
                   COALESCE(sum(ready), 0), COALESCE(sum(scheduled), 0), COALESCE(sum(running), 0),
                   COALESCE(sum(completed), 0), COALESCE(sum(failed), 0), COALESCE(sum(retries_pending), 0)
                   FROM grid_read.jobs WHERE COALESCE(finished_at, 'infinity') = 'infinity'";
        let row = sqlx::query(sql).fetch_one(&self.pool).await?;
        let count = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.max(0).unsigned_abs());
        Ok(Overview {
            jobs: count(0)?,
            unfinished_jobs: count(1)?,
            ready: count(2)?,
            scheduled: count(3)?,
            running: count(4)?,
            completed: count(5)?,
            failed: count(6)?,
            retries_pending: count(7)?,
        })
    }
}
