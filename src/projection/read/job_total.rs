//! Totals: how many jobs a filter lets through, and how many tasks these have.
//!
//! Most jobs have completed. Those of a label or a time are counted by one index alone, so a total that has the completed
//! ones among others is that of all, less what the few others say.
//!
//! Must stay true: a total is one statement, so that both of its parts see the same moment.

use sqlx::Row;
use tokio::time::Instant;

use super::job_list::{Driver, Sql, push_from, push_merged};
use super::{JobFilter, Reading};
use crate::domain::JobStatus;

impl Reading {
    /// How many jobs the filter lets through. All of them are counted as they are written; of others the keys are
    /// counted, and a total of 10,000 or more is remembered for a second, unless it is to be `fresh`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn job_count(&self, filter: &JobFilter, fresh: bool) -> Result<u64, sqlx::Error> {
        if let Some(total) = self.totals.get(filter).filter(|_| !fresh) {
            return Ok(total);
        }
        let begun = Instant::now();
        let total = self.count_jobs(filter).await?;
        self.totals.keep(filter, total, begun);
        Ok(total)
    }

    async fn count_jobs(&self, filter: &JobFilter) -> Result<u64, sqlx::Error> {
        let mut sql = Sql::new("SELECT (");
        if let Some(others) = others(filter) {
            push_count(&mut sql, &with(filter, &[]));
            if !others.is_empty() {
                sql.push(") - (");
                push_count(&mut sql, &with(filter, &others));
            }
        } else {
            push_count(&mut sql, filter);
        }
        sql.push(")");
        let row = sql.build().persistent(false).fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)?.max(0).unsigned_abs())
    }
}

fn with(filter: &JobFilter, statuses: &[JobStatus]) -> JobFilter {
    JobFilter {
        statuses: statuses.iter().copied().collect(),
        ..filter.clone()
    }
}

/// The statuses that are not asked for, when those are the fewer jobs.
fn others(filter: &JobFilter) -> Option<Vec<JobStatus>> {
    let most = filter.ids.is_empty() && filter.statuses.contains(&JobStatus::Completed);
    let not_asked = |status: &JobStatus| !filter.statuses.contains(status);
    most.then(|| JobStatus::ALL.into_iter().filter(not_asked).collect())
}

fn push_count(sql: &mut Sql, filter: &JobFilter) {
    if filter.is_all() {
        sql.push("SELECT COALESCE(sum(jobs), 0)::bigint FROM grid_read.projection_cursors");
        return;
    }
    sql.push("SELECT count(*)");
    let driver = Driver::of(filter);
    push_from(sql, filter, &driver, false);
    push_merged(sql, filter, &driver);
}

/// `SELECT` how many tasks the jobs have in all, as they were submitted.
fn push_all_tasks(sql: &mut Sql, filter: &JobFilter) {
    let driver = Driver::of(filter);
    sql.push(match &driver {
        Driver::Label(..) => "SELECT COALESCE(sum(l.task_count), 0)::bigint",
        Driver::All | Driver::Ids | Driver::Statuses(_) | Driver::ExternalIds(_) => {
            "SELECT COALESCE(sum(j.task_count), 0)::bigint"
        }
    });
    push_from(sql, filter, &driver, false);
}

fn push_some_tasks(sql: &mut Sql, filter: &JobFilter, each: &str) {
    let driver = Driver::of(filter);
    sql.push(format!("SELECT COALESCE(sum({each}), 0)::bigint"));
    push_from(sql, filter, &driver, true);
    push_merged(sql, filter, &driver);
}

/// Of whose tasks how many are counted.
pub(super) enum Counted<'a> {
    All,
    /// Those of all jobs, whose completed tasks are among the counted: `expected` of each.
    WithCompleted(&'a str),
    /// `expected` of each.
    Some(&'a str),
}

/// `SELECT` how many tasks the jobs have of those that are counted.
pub(super) fn push_tasks(sql: &mut Sql, filter: &JobFilter, counted: &Counted<'_>) {
    match counted {
        Counted::All => push_all_tasks(sql, filter),
        Counted::Some(expected) => push_some_tasks(sql, filter, expected),
        Counted::WithCompleted(expected) => {
            use JobStatus::{Failed, Mixed, Running, Timeout};
            sql.push("SELECT (");
            push_all_tasks(sql, filter);
            sql.push(") - (");
            // A job that has completed has completed tasks alone.
            let others = with(filter, &[Running, Failed, Timeout, Mixed]);
            push_some_tasks(sql, &others, &format!("j.task_count - {expected}"));
            sql.push(")");
        }
    }
}
