//! Tasks by number, or by the counters of jobs and blocks.

use std::collections::{BTreeSet, HashMap, VecDeque};

use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::super::tasks::{COLUMNS, read};
use super::super::{Direction, Reading, TaskFilter, TaskRow};
use super::source::{From, Range};
use super::{TaskKey, Walk, expected};
use crate::domain::event::TaskState;
use crate::domain::{JobId, TaskId};
use crate::projection::change::BLOCK_TASKS;

impl Reading {
    /// The first `want` tasks from `from` on. The filter asks for states at most.
    pub(super) async fn pick(
        &self,
        filter: &TaskFilter,
        walk: Walk,
        from: From,
        want: usize,
    ) -> Result<Vec<(TaskKey, TaskRow)>, sqlx::Error> {
        let mut picked: Vec<(TaskKey, TaskRow)> = Vec::new();
        let mut from = from;
        loop {
            // One more: that of the task to begin behind may have nothing left.
            let found = self.ranges(filter, walk, from, want as u64 + 1).await?;
            let end = found.ranges.last().copied();
            let mut skip = found.skip;
            let mut ranges = VecDeque::from(self.in_blocks(filter, walk, found.ranges).await?);
            skip_whole(&mut ranges, &mut skip, walk.numbers, filter.states.is_empty());
            while picked.len() < want && !ranges.is_empty() {
                let missing = (want - picked.len()) as u64 + skip;
                let round = take(&mut ranges, missing, walk.numbers, filter.states.is_empty());
                for row in self.fetch(&round, &filter.states, walk.numbers, missing).await? {
                    if skip > 0 {
                        skip -= 1;
                    } else if picked.len() < want {
                        picked.push(row);
                    }
                }
            }
            let Some(end) = end.filter(|_| found.more && picked.len() < want) else {
                return Ok(picked);
            };
            // Behind the whole last range.
            from = From::Behind(match walk.numbers {
                Direction::Asc => end.key(end.last),
                Direction::Desc => end.key(end.first),
            });
        }
    }

    /// Large jobs by those of their blocks that have wanted tasks.
    pub(super) async fn in_blocks(
        &self,
        filter: &TaskFilter,
        walk: Walk,
        ranges: Vec<Range>,
    ) -> Result<Vec<Range>, sqlx::Error> {
        let is_large = |range: &Range| range.len() > BLOCK_TASKS;
        if filter.states.is_empty() || !ranges.iter().any(is_large) {
            return Ok(ranges);
        }
        let large: Vec<Uuid> = ranges
            .iter()
            .filter(|range| is_large(range))
            .map(|it| it.job.0)
            .collect();
        let wanted = expected(filter);
        let sql = format!(
            "SELECT job, block, {wanted} FROM grid_read.task_blocks WHERE job = ANY($1) AND {wanted} > 0 ORDER BY 1, 2"
        );
        let mut blocks: HashMap<JobId, Vec<(u32, u32)>> = HashMap::new();
        for row in sqlx::query(AssertSqlSafe(sql))
            .bind(large)
            .fetch_all(&self.pool)
            .await?
        {
            let number = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<i32, _>(column)?.max(0).unsigned_abs());
            let of_job = blocks.entry(JobId(row.try_get(0)?)).or_default();
            of_job.push((number(1)?, number(2)?));
        }
        let mut split = Vec::new();
        for range in ranges {
            match blocks.get(&range.job).filter(|_| is_large(&range)) {
                Some(blocks) => split.extend(cut(range, blocks, walk.numbers)),
                None => split.push(range),
            }
        }
        Ok(split)
    }

    /// The wanted tasks of the ranges, in order; `most` or a few more.
    async fn fetch(
        &self,
        ranges: &[Range],
        states: &BTreeSet<TaskState>,
        numbers: Direction,
        most: u64,
    ) -> Result<Vec<(TaskKey, TaskRow)>, sqlx::Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM unnest($1::uuid[], $2::int[], $3::int[]) r(of_job, first, last)
             JOIN grid_read.tasks ON job = of_job AND number BETWEEN first AND last
             WHERE $4::text[] IS NULL OR state = ANY($4)"
        );
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(ranges.iter().map(|range| range.job.0).collect::<Vec<_>>())
            .bind(ranges.iter().map(|range| range.first as i32).collect::<Vec<_>>())
            .bind(ranges.iter().map(|range| range.last as i32).collect::<Vec<_>>())
            .bind((!names.is_empty()).then_some(names));
        let mut rows = HashMap::new();
        for row in query.fetch_all(&self.pool).await? {
            let task = read(&row)?;
            rows.insert(task.id, task);
        }
        let with_unwritten = states.is_empty() || states.contains(&TaskState::Ready);
        let written = match (with_unwritten, states.is_empty()) {
            (true, false) => self.written(ranges).await?,
            // Every number is wanted: what has no row is not written.
            (true, true) | (false, _) => HashMap::new(),
        };
        let mut found = Vec::new();
        for range in ranges {
            let written = written.get(&range.job).copied().unwrap_or(0);
            let mut add = |number: u32| {
                let id = TaskId { job: range.job, number };
                let row = rows.remove(&id);
                let row = row.or_else(|| (with_unwritten && number > written).then(|| TaskRow::unwritten(id)));
                found.extend(row.map(|row| (range.key(number), row)));
                found.len() as u64 <= most
            };
            let enough = match numbers {
                Direction::Asc => !(range.first..=range.last).all(&mut add),
                Direction::Desc => !(range.first..=range.last).rev().all(&mut add),
            };
            if enough {
                break;
            }
        }
        Ok(found)
    }

    /// The last number of each job that has a row; jobs without any are left out.
    async fn written(&self, ranges: &[Range]) -> Result<HashMap<JobId, u32>, sqlx::Error> {
        let sql = "SELECT job, (SELECT max(number) FROM grid_read.tasks t WHERE t.job = u.job)
                   FROM (SELECT DISTINCT job FROM unnest($1::uuid[]) v(job)) u";
        let jobs: Vec<Uuid> = ranges.iter().map(|range| range.job.0).collect();
        let mut written = HashMap::new();
        for row in sqlx::query(sql).bind(jobs).fetch_all(&self.pool).await? {
            if let Some(number) = row.try_get::<Option<i32>, _>(1)? {
                written.insert(JobId(row.try_get(0)?), number.unsigned_abs());
            }
        }
        Ok(written)
    }
}

/// The parts of `range` that lie in the blocks, which are in order; with how many are wanted in each.
fn cut(range: Range, blocks: &[(u32, u32)], numbers: Direction) -> Vec<Range> {
    let part = |&(block, expected): &(u32, u32)| {
        let (first, last) = (block * BLOCK_TASKS + 1, (block + 1) * BLOCK_TASKS);
        let whole = first >= range.first && (last <= range.last || range.last < last);
        let part = Range {
            first: first.max(range.first),
            last: last.min(range.last),
            // Of a part of a block nothing is counted.
            expected: if whole { expected } else { 0 },
            ..range
        };
        (part.first <= part.last).then_some(part)
    };
    let mut parts: Vec<Range> = blocks.iter().filter_map(part).collect();
    if numbers == Direction::Desc {
        parts.reverse();
    }
    parts
}

/// Passes over as many whole ranges, or numbers when all are wanted, as `skip` says.
fn skip_whole(ranges: &mut VecDeque<Range>, skip: &mut u64, numbers: Direction, all: bool) {
    while let Some(range) = ranges.front_mut() {
        let expected = u64::from(range.expected);
        if expected <= *skip && *skip > 0 {
            *skip -= expected;
            ranges.pop_front();
            continue;
        }
        if all {
            let passed = u32::try_from(*skip).unwrap_or(u32::MAX);
            match numbers {
                Direction::Asc => range.first += passed,
                Direction::Desc => range.last -= passed,
            }
            range.expected -= passed;
            *skip = 0;
        }
        return;
    }
}

/// The next ranges, with at least `missing` wanted tasks if there are so many; cut to that when all are wanted.
fn take(ranges: &mut VecDeque<Range>, missing: u64, numbers: Direction, all: bool) -> Vec<Range> {
    let (mut taken, mut sum) = (Vec::new(), 0_u64);
    while sum < missing
        && let Some(mut range) = ranges.pop_front()
    {
        let room = u32::try_from(missing - sum).unwrap_or(u32::MAX);
        sum += u64::from(range.expected);
        if all && range.len() > room {
            match numbers {
                Direction::Asc => range.last = range.first + room - 1,
                Direction::Desc => range.first = range.last - room + 1,
            }
        }
        taken.push(range);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn range(first: u32, last: u32, expected: u32) -> Range {
        Range {
            job: JobId(Uuid::nil()),
            created_at: Timestamp::ZERO,
            first,
            last,
            expected,
        }
    }

    #[test]
    fn large_jobs_are_cut_into_their_blocks() {
        let whole = range(1, 1_300, 9);
        let blocks = [(0, 4), (2, 5)];
        assert_eq!(
            cut(whole, &blocks, Direction::Asc),
            [range(1, 512, 4), range(1_025, 1_300, 5)]
        );
        assert_eq!(
            cut(whole, &blocks, Direction::Desc),
            [range(1_025, 1_300, 5), range(1, 512, 4)]
        );
        // Behind a task: the part of its block is not counted.
        assert_eq!(
            cut(range(500, 1_300, 0), &blocks, Direction::Asc),
            [range(500, 512, 0), range(1_025, 1_300, 5)]
        );
    }

    #[test]
    fn what_is_passed_over_is_not_looked_at() {
        let mut ranges = VecDeque::from([range(1, 10, 10), range(1, 20, 20), range(1, 5, 5)]);
        let mut skip = 13;
        skip_whole(&mut ranges, &mut skip, Direction::Asc, true);
        assert_eq!((ranges[0], skip), (range(4, 20, 17), 0));
        assert_eq!(
            take(&mut ranges, 18, Direction::Asc, true),
            [range(4, 20, 17), range(1, 1, 5)]
        );
        let mut ranges = VecDeque::from([range(1, 10, 2), range(11, 20, 2)]);
        let mut skip = 3;
        skip_whole(&mut ranges, &mut skip, Direction::Asc, false);
        assert_eq!((ranges.len(), skip), (1, 1));
    }
}
