//! Lists of tasks, of one job or of all: filtered, from any place on; and their totals.
//!
//! The states of single tasks have no index: it would have to be written at each change of each task. Tasks of a state
//! are found by counters instead: a job's row says how many it has, the blocks of a large job in which part of it they
//! are, and only there the rows are looked at. What counters do not say (workers, and states of named tasks) is looked
//! for row by row, and refused when that would be too many.
//!
//! Must stay true: a task that is not written out has no row and is READY; of a job, these are its last ones.

mod pick;
mod scan;
mod source;

use serde::Serialize;
use sqlx::Row;
use tokio::time::Instant;
use uuid::Uuid;

pub(super) use self::source::replica;

use self::source::From;
use super::job_list::Sql;
use super::job_total::{Counted, push_tasks};
use super::{Direction, Order, Reading, Slice, SortField, Start, TaskFilter, TaskRow};
use crate::domain::event::TaskState;
use crate::domain::{JobId, TaskId, Timestamp};

/// What tasks can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskSort {
    /// Of the job; the tasks of a job by number.
    CreatedAt,
    /// Of the tasks of one job.
    Number,
}

impl SortField for TaskSort {
    const FIELDS: &'static [(&'static str, Self)] = &[("createdAt", Self::CreatedAt), ("number", Self::Number)];

    fn usual(self) -> Direction {
        match self {
            Self::CreatedAt => Direction::Desc,
            Self::Number => Direction::Asc,
        }
    }
}

pub type TaskOrder = Order<TaskSort>;

/// Where a task stands in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskKey {
    /// Of the job.
    pub created_at: Timestamp,
    pub task: TaskId,
}

impl TaskKey {
    pub fn to_bytes(self) -> Vec<u8> {
        let (at, number) = (self.created_at.as_ms().to_be_bytes(), self.task.number.to_be_bytes());
        [&at[..], self.task.job.0.as_bytes(), &number[..]].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (job, number) = rest.split_first_chunk::<16>()?;
        Some(Self {
            created_at: Timestamp::from_ms(i64::from_be_bytes(*at)),
            task: TaskId {
                job: JobId(Uuid::from_bytes(*job)),
                number: u32::from_be_bytes(number.try_into().ok()?),
            },
        })
    }
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum TaskListError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(
        "{tasks} tasks would have to be looked at one by one, at most {most} are: narrow it down by state, job, label \
         or time"
    )]
    TooBroad { tasks: u64, most: u64 },
}

/// How jobs, and tasks of one job, follow each other.
#[derive(Clone, Copy, Debug)]
struct Walk {
    jobs: Direction,
    numbers: Direction,
}

impl Walk {
    const fn reversed(self) -> Self {
        Self {
            jobs: self.jobs.reversed(),
            numbers: self.numbers.reversed(),
        }
    }
}

/// Where a part of a list is read.
#[derive(Clone, Copy, Debug)]
struct Part {
    walk: Walk,
    from: From,
    want: usize,
    /// Its end comes first.
    reversed: bool,
}

impl Part {
    /// `want` tasks from `start` on. A deep part is read from the end of the list that is nearer.
    fn of(walk: Walk, start: &Start<TaskKey>, want: usize) -> Self {
        let forward = |from| Self {
            walk,
            from,
            want,
            reversed: false,
        };
        let (offset, total) = match start {
            Start::After(key) => return forward(From::Behind(*key)),
            Start::Offset { offset, total } => (*offset, *total),
        };
        let Some(left) = total.map(|total| total.saturating_sub(offset)) else {
            return forward(From::Skip(offset));
        };
        let behind = left.saturating_sub(want as u64);
        if behind >= offset {
            return forward(From::Skip(offset));
        }
        Self {
            walk: walk.reversed(),
            from: From::Skip(behind),
            want: want.min(usize::try_from(left).unwrap_or(want)),
            reversed: true,
        }
    }
}

impl std::convert::From<TaskOrder> for Walk {
    fn from(order: TaskOrder) -> Self {
        match order.by {
            TaskSort::CreatedAt => Self {
                jobs: order.direction,
                numbers: Direction::Asc,
            },
            TaskSort::Number => Self {
                jobs: Direction::Desc,
                numbers: order.direction,
            },
        }
    }
}

/// How the tasks that the filter lets through are found.
enum Way {
    /// By number alone.
    Numbers,
    /// By the counters of jobs and blocks.
    Counters,
    /// By looking at each.
    Scan,
}

impl Way {
    fn of(filter: &TaskFilter) -> Self {
        match (filter.workers.is_empty(), filter.states.is_empty()) {
            (true, true) => Self::Numbers,
            (true, false) if filter.external_ids.is_empty() => Self::Counters,
            (true | false, true | false) => Self::Scan,
        }
    }
}

/// How many of a job's tasks are in the states, from its row.
fn expected(filter: &TaskFilter) -> String {
    if filter.states.is_empty() {
        return "j.task_count".to_owned();
    }
    let columns: Vec<&str> = filter.states.iter().map(|state| column(*state)).collect();
    format!("({})", columns.join(" + "))
}

/// Nothing is asked for but states: the cursors of the shards count these.
fn is_of_all_jobs(filter: &TaskFilter) -> bool {
    let by_state = TaskFilter {
        states: filter.states.clone(),
        ..TaskFilter::default()
    };
    *filter == by_state
}

const fn column(state: TaskState) -> &'static str {
    match state {
        TaskState::Ready => "ready",
        TaskState::Scheduled => "scheduled",
        TaskState::Running => "running",
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
    }
}

impl Reading {
    /// How many tasks the filter lets through. Those of a job, and all of a state, are counted as they are written; of
    /// others a total of 10,000 or more is remembered for a second, unless it is to be `fresh`.
    ///
    /// # Errors
    /// When the database does not answer, or too many would have to be looked at.
    pub async fn task_count(&self, filter: &TaskFilter, fresh: bool) -> Result<u64, TaskListError> {
        if filter.job.is_some() || is_of_all_jobs(filter) {
            return self.count_tasks(filter).await;
        }
        if let Some(total) = self.task_totals.get(filter).filter(|_| !fresh) {
            return Ok(total);
        }
        let begun = Instant::now();
        let total = self.count_tasks(filter).await?;
        self.task_totals.keep(filter, total, begun);
        Ok(total)
    }

    async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64, TaskListError> {
        if matches!(Way::of(filter), Way::Scan) {
            return self.count_scanned(filter).await;
        }
        let jobs = filter.of_jobs();
        let mut sql;
        if !filter.external_ids.is_empty() {
            sql = Sql::new("SELECT COALESCE(sum(expected), 0)::bigint FROM (");
            source::push_named(&mut sql, filter);
            sql.push(") named");
        } else if is_of_all_jobs(filter) {
            let states = if filter.states.is_empty() {
                "ready + scheduled + running + completed + failed".to_owned()
            } else {
                expected(filter)
            };
            sql = Sql::new(format!(
                "SELECT COALESCE(sum({states}), 0)::bigint FROM grid_read.projection_cursors"
            ));
        } else {
            sql = Sql::new("");
            let expected = expected(filter);
            let counted = if filter.states.is_empty() {
                Counted::All
            } else if filter.states.contains(&TaskState::Completed) && filter.job.is_none() {
                Counted::WithCompleted(&expected)
            } else {
                Counted::Some(&expected)
            };
            push_tasks(&mut sql, &jobs, &counted);
        }
        let row = sql.build().persistent(false).fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)?.max(0).unsigned_abs())
    }

    /// `size` tasks from `start` on. Sorted by number, the filter names a job.
    ///
    /// # Errors
    /// As [`Reading::task_count`].
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        order: TaskOrder,
        start: &Start<TaskKey>,
        size: u32,
    ) -> Result<Slice<(TaskKey, TaskRow)>, TaskListError> {
        // One beyond, to see whether there is more.
        let part = Part::of(Walk::from(order), start, size as usize + 1);
        let Part { walk, from, want, .. } = part;
        let mut rows = match Way::of(filter) {
            _ if want == 0 => Vec::new(),
            Way::Numbers | Way::Counters => self.pick(filter, walk, from, want).await?,
            Way::Scan => self.scan(filter, walk, from, want).await?,
        };
        if part.reversed {
            rows.reverse();
        }
        Ok(Slice::cut(rows, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_part_is_read_from_the_nearer_end() {
        let walk = Walk::from(TaskOrder::default());
        let part = |offset, total| {
            let part = Part::of(walk, &Start::Offset { offset, total }, 51);
            let From::Skip(skip) = part.from else {
                panic!("not by offset")
            };
            (part.reversed, skip, part.want)
        };
        assert_eq!(part(0, Some(1_000)), (false, 0, 51));
        assert_eq!(part(900, None), (false, 900, 51));
        // 949 behind the part.
        assert_eq!(part(474, Some(1_000)), (false, 474, 51));
        assert_eq!(part(475, Some(1_000)), (true, 474, 51));
        // The last part, which is shorter, and what is beyond it.
        assert_eq!(part(990, Some(1_000)), (true, 0, 10));
        assert_eq!(part(1_000, Some(1_000)), (true, 0, 0));
        assert_eq!(part(0, Some(0)), (false, 0, 51));
    }

    #[test]
    fn keys_are_read_as_they_were_written() {
        let key = TaskKey {
            created_at: Timestamp::from_ms(1_700_000_000_123),
            task: TaskId {
                job: JobId(Uuid::from_u128(77)),
                number: 1_000_000,
            },
        };
        assert_eq!(TaskKey::from_bytes(&key.to_bytes()), Some(key));
        assert_eq!(TaskKey::from_bytes(b"short"), None);
    }
}
