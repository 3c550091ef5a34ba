//! Which numbers of which jobs hold the tasks of a list, in its order.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::super::job_list::{Driver, JobKey, JobSort, Keys, Sql, push_from, to_i64};
use super::super::{Direction, Reading, TaskFilter};
use super::{TaskKey, Walk, expected};
use crate::domain::{JobId, Timestamp};

/// Tasks of one job with neighbouring numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub job: JobId,
    pub created_at: Timestamp,
    pub first: u32,
    pub last: u32,
    /// How many of them are wanted, as counted; it may have moved on.
    pub expected: u32,
}

impl Range {
    pub const fn len(&self) -> u32 {
        (self.last + 1).saturating_sub(self.first)
    }

    pub const fn key(&self, number: u32) -> TaskKey {
        TaskKey {
            created_at: self.created_at,
            task: crate::domain::TaskId { job: self.job, number },
        }
    }

    /// Without what is not behind `key`; nothing may be left.
    pub fn behind(mut self, key: &TaskKey, numbers: Direction) -> Self {
        if self.job == key.task.job {
            let before = self.len();
            match numbers {
                Direction::Asc => self.first = self.first.max(key.task.number.saturating_add(1)),
                Direction::Desc => self.last = self.last.min(key.task.number.saturating_sub(1)),
            }
            // How many of what is left are wanted is not counted, unless all are.
            self.expected = if self.expected == before { self.len() } else { 0 };
        }
        self
    }
}

/// Where to begin, in the order of the walk.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// So many wanted tasks are passed over.
    Skip(u64),
    /// Behind this task.
    Behind(TaskKey),
}

/// Ranges, and how many wanted tasks at their beginning are to be passed over.
pub struct Ranges {
    pub ranges: Vec<Range>,
    pub skip: u64,
    /// There may be further ones behind the last.
    pub more: bool,
}

/// `SELECT job, created_at, first, last, expected` of tasks by name, unordered.
pub(super) fn push_named(sql: &mut Sql, filter: &TaskFilter) {
    let jobs = filter.of_jobs();
    // All tasks of a name, or the one replica.
    let (mut names, mut indexes): (Vec<String>, Vec<Option<i32>>) = (Vec::new(), Vec::new());
    for name in &filter.external_ids {
        names.push(name.clone());
        indexes.push(None);
        if let Some((name, index)) = replica(name).filter(|(name, _)| !filter.external_ids.contains(*name)) {
            names.push(name.to_owned());
            indexes.push(Some(index));
        }
    }
    // One table and not two of them put together: where few jobs have the status, their names are looked up by the job.
    sql.push(
        "SELECT job, created_at, first, last, last - first + 1 AS expected FROM (
             SELECT n.job, n.created_at, n.first_number + COALESCE(w.index, 0) AS first,
                 n.first_number + COALESCE(w.index, n.replicas - 1) AS last
             FROM grid_read.task_names n JOIN unnest(",
    );
    sql.push_bind(names.clone()).push("::text[], ").push_bind(indexes);
    sql.push(
        "::int[]) w(name, index) ON w.name = n.name AND (w.index IS NULL OR n.replicas > 1 AND n.replicas > w.index)
             WHERE n.name = ANY(",
    );
    sql.push_bind(names).push(")) n");
    if filter.job.is_some() || !filter.labels.is_empty() || !filter.created.is_all() || !jobs.statuses.is_empty() {
        sql.push(" WHERE n.job IN (SELECT j.id");
        // By the job's row: its key is that of the names.
        push_from(sql, &jobs, &Driver::All, true);
        sql.push(")");
    }
}

/// `name-3` may be a replica of `name`.
pub fn replica(text: &str) -> Option<(&str, i32)> {
    let (name, index) = text.rsplit_once('-')?;
    let canonical = index == "0" || !index.starts_with('0');
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    (!name.is_empty() && canonical && digits).then_some((name, index.parse().ok()?))
}

impl Reading {
    /// At most `limit` ranges, each with some wanted task.
    pub(super) async fn ranges(
        &self,
        filter: &TaskFilter,
        walk: Walk,
        from: From,
        limit: u64,
    ) -> Result<Ranges, sqlx::Error> {
        let mut sql = Sql::new("SELECT job, created_at, first, last, expected, upto FROM (SELECT *, ");
        // Of whole jobs there is one range each, and to sort by more than their index does takes time.
        let numbers = if filter.external_ids.is_empty() {
            String::new()
        } else {
            format!(", first {}", walk.numbers.sql())
        };
        let order = format!("ORDER BY created_at {0}, job {0}{numbers}", walk.jobs.sql());
        let offset = match from {
            From::Skip(offset) if offset > 0 => {
                // By rows: to look for neighbours that are equal in order takes time, and no two are.
                sql.push(format!(
                    "(sum(expected) OVER ({order} ROWS UNBOUNDED PRECEDING))::bigint AS upto"
                ));
                offset
            }
            From::Skip(_) | From::Behind(_) => {
                sql.push("0::bigint AS upto");
                0
            }
        };
        sql.push(" FROM (");
        if filter.external_ids.is_empty() {
            push_jobs(&mut sql, filter, walk, from, limit);
        } else {
            push_named(&mut sql, filter);
        }
        sql.push(") source");
        if let From::Behind(key) = from
            && !filter.external_ids.is_empty()
        {
            sql.push(format!(" WHERE (created_at, job) {}= (", walk.jobs.beyond()));
            sql.push_bind(key.created_at.to_datetime())
                .push(", ")
                .push_bind(key.task.job.0)
                .push(") AND NOT (job = ")
                .push_bind(key.task.job.0);
            sql.push(match walk.numbers {
                Direction::Asc => " AND last <= ",
                Direction::Desc => " AND first >= ",
            });
            sql.push_bind(key.task.number as i32).push(")");
        }
        sql.push(") ranges");
        if offset > 0 {
            sql.push(" WHERE upto > ").push_bind(to_i64(offset));
        }
        sql.push(format!(" {order} LIMIT ")).push_bind(to_i64(limit));
        let rows = sql.build().persistent(false).fetch_all(&self.pool).await?;
        let mut found = Ranges {
            ranges: Vec::with_capacity(rows.len()),
            skip: 0,
            more: rows.len() as u64 >= limit,
        };
        for row in &rows {
            let number = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<i32, _>(column)?.max(0).unsigned_abs());
            let range = Range {
                job: JobId(row.try_get(0)?),
                created_at: row.try_get::<DateTime<Utc>, _>(1)?.into(),
                first: number(2)?,
                last: number(3)?,
                expected: number(4)?,
            };
            if offset > 0 && found.ranges.is_empty() {
                let before = row.try_get::<i64, _>(5)? - i64::from(range.expected);
                found.skip = offset.saturating_sub(before.max(0).unsigned_abs());
            }
            found.ranges.push(range);
        }
        if let From::Behind(key) = from {
            let cut = found.ranges.into_iter().map(|range| range.behind(&key, walk.numbers));
            found.ranges = cut.filter(|range| range.len() > 0).collect();
        }
        Ok(found)
    }
}

/// As [`push_named`], of whole jobs, in order.
fn push_jobs(sql: &mut Sql, filter: &TaskFilter, walk: Walk, from: From, limit: u64) {
    let (jobs, expected) = (filter.of_jobs(), expected(filter));
    let (after, deep) = match from {
        From::Skip(offset) => (None, offset),
        From::Behind(key) => (Some(JobKey::created(key.created_at, key.task.job)), 0),
    };
    sql.push("SELECT id AS job, created_at, 1 AS first, task_count AS last, expected FROM (");
    let keys = Keys {
        filter: &jobs,
        by: JobSort::CreatedAt,
        direction: walk.jobs,
        after: after.as_ref(),
        inclusive: true,
        skip: 0,
        // Each has at least one wanted task.
        limit: deep.saturating_add(limit),
        expected: Some(&expected),
    };
    keys.push(sql);
    sql.push(") jobs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_named_by_their_index() {
        assert_eq!(replica("filter-3"), Some(("filter", 3)));
        assert_eq!(replica("a-b-0"), Some(("a-b", 0)));
        for text in ["filter", "filter-", "filter-03", "-3", "filter-x", "filter-99999999999"] {
            assert_eq!(replica(text), None, "{text}");
        }
    }
}
