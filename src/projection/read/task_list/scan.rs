//! Tasks that no counter finds: looked at one by one, within bounds.

use sqlx::Row;

use super::super::job_list::{Sql, to_i64};
use super::super::tasks::{COLUMNS, read};
use super::super::{Reading, TaskFilter, TaskRow};
use super::source::{From, Range};
use super::{TaskKey, TaskListError, Walk};
use crate::domain::{JobId, Timestamp};
use crate::projection::read::Direction;

/// Tasks that may be looked at for one answer.
const MOST_TASKS: u64 = 100_000;

/// A row that is not there is a task that is READY; when workers are asked for, it is not one of theirs.
fn push_rows(sql: &mut Sql, filter: &TaskFilter, ranges: &[Range]) {
    sql.push(" FROM unnest(");
    sql.push_bind(ranges.iter().map(|range| range.job.0).collect::<Vec<_>>());
    sql.push(", ");
    sql.push_bind(ranges.iter().map(|range| range.first as i32).collect::<Vec<_>>());
    sql.push(", ");
    sql.push_bind(ranges.iter().map(|range| range.last as i32).collect::<Vec<_>>());
    sql.push(", ");
    sql.push_bind(
        ranges
            .iter()
            .map(|range| range.created_at.to_datetime())
            .collect::<Vec<_>>(),
    );
    sql.push(") r(of_job, first, last, created_at)");
    if filter.workers.is_empty() {
        sql.push(
            // OFFSET 0: each is looked up. Whoever guesses how many numbers a series has may be far off, and would
            // read the whole table instead.
            " CROSS JOIN generate_series(first, last) of_number
              LEFT JOIN LATERAL (
                  SELECT * FROM grid_read.tasks WHERE job = of_job AND number = of_number OFFSET 0
              ) t ON true WHERE true",
        );
    } else {
        let workers: Vec<String> = filter.workers.iter().map(|worker| worker.as_str().to_owned()).collect();
        sql.push(
            " JOIN grid_read.tasks t ON t.job = of_job AND t.number BETWEEN first AND last
              CROSS JOIN LATERAL (SELECT t.number) n(of_number) WHERE t.worker = ANY(",
        );
        sql.push_bind(workers).push(")");
    }
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.name()).collect();
        sql.push(" AND COALESCE(t.state, 'READY') = ANY(")
            .push_bind(states)
            .push(")");
    }
}

impl Reading {
    /// All ranges that hold wanted tasks.
    async fn all_ranges(&self, filter: &TaskFilter, walk: Walk) -> Result<Vec<Range>, TaskListError> {
        let found = self.ranges(filter, walk, From::Skip(0), MOST_TASKS + 1).await?;
        let ranges = self.in_blocks(filter, walk, found.ranges).await?;
        let tasks: u64 = ranges.iter().map(|range| u64::from(range.len())).sum();
        if tasks > MOST_TASKS {
            return Err(TaskListError::TooBroad {
                tasks,
                most: MOST_TASKS,
            });
        }
        Ok(ranges)
    }

    pub(super) async fn count_scanned(&self, filter: &TaskFilter) -> Result<u64, TaskListError> {
        let walk = Walk {
            jobs: Direction::Desc,
            numbers: Direction::Asc,
        };
        let ranges = self.all_ranges(filter, walk).await?;
        let mut sql = Sql::new("SELECT count(*)");
        push_rows(&mut sql, filter, &ranges);
        let row = sql.build().persistent(false).fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)?.max(0).unsigned_abs())
    }

    pub(super) async fn scan(
        &self,
        filter: &TaskFilter,
        walk: Walk,
        from: From,
        want: usize,
    ) -> Result<Vec<(TaskKey, TaskRow)>, TaskListError> {
        let mut ranges = self.all_ranges(filter, walk).await?;
        let mut offset = 0;
        match from {
            From::Skip(skip) => offset = skip,
            From::Behind(key) => ranges.retain_mut(|range| {
                *range = range.behind(&key, walk.numbers);
                range.len() > 0 && !is_before(range, &key, walk.jobs)
            }),
        }
        let mut sql = Sql::new(format!("SELECT {COLUMNS}, of_job, of_number, created_at"));
        push_rows(&mut sql, filter, &ranges);
        let (jobs, numbers) = (walk.jobs.sql(), walk.numbers.sql());
        sql.push(format!(
            " ORDER BY created_at {jobs}, of_job {jobs}, of_number {numbers} OFFSET "
        ));
        sql.push_bind(to_i64(offset))
            .push(" LIMIT ")
            .push_bind(to_i64(want as u64));
        let rows = sql.build().persistent(false).fetch_all(&self.pool).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = TaskKey {
                created_at: row.try_get::<chrono::DateTime<chrono::Utc>, _>("created_at")?.into(),
                task: crate::domain::TaskId {
                    job: JobId(row.try_get("of_job")?),
                    number: row.try_get::<i32, _>("of_number")?.unsigned_abs(),
                },
            };
            let written = row.try_get::<Option<&str>, _>("state")?.is_some();
            let task = if written {
                read(row)?
            } else {
                TaskRow::unwritten(key.task)
            };
            found.push((key, task));
        }
        Ok(found)
    }
}

/// Whether the range belongs to a job that comes before that of the key.
fn is_before(range: &Range, key: &TaskKey, jobs: Direction) -> bool {
    let place = |at: Timestamp, job: JobId| (at, job);
    let (here, there) = (place(range.created_at, range.job), place(key.created_at, key.task.job));
    match jobs {
        Direction::Asc => here < there,
        Direction::Desc => here > there,
    }
}
