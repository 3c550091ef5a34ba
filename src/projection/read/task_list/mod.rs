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
use uuid::Uuid;

pub(super) use self::source::replica;

use self::source::From;
use super::job_list::{Driver, Sql, push_from};
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
    /// How many tasks the filter lets through.
    ///
    /// # Errors
    /// When the database does not answer, or too many would have to be looked at.
    pub async fn task_count(&self, filter: &TaskFilter) -> Result<u64, TaskListError> {
        if matches!(Way::of(filter), Way::Scan) {
            return self.count_scanned(filter).await;
        }
        let jobs = filter.of_jobs();
        let mut sql;
        if !filter.external_ids.is_empty() {
            sql = Sql::new("SELECT COALESCE(sum(expected), 0)::bigint FROM (");
            source::push_named(&mut sql, filter);
            sql.push(") named");
        } else if filter.job.is_none() && filter.labels.is_empty() && filter.created.is_all() {
            let states = if filter.states.is_empty() {
                "ready + scheduled + running + completed + failed".to_owned()
            } else {
                expected(filter)
            };
            sql = Sql::new(format!(
                "SELECT COALESCE(sum({states}), 0)::bigint FROM grid_read.projection_cursors"
            ));
        } else {
            sql = Sql::new(format!("SELECT COALESCE(sum({}), 0)::bigint", expected(filter)));
            push_from(&mut sql, &jobs, &Driver::of(&jobs), true);
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
        let (walk, from) = (Walk::from(order), From::from(start));
        // One beyond, to see whether there is more.
        let want = size as usize + 1;
        let rows = match Way::of(filter) {
            Way::Numbers => self.pick(filter, walk, from, want).await?,
            Way::Counters => self.pick(filter, walk, from, want).await?,
            Way::Scan => self.scan(filter, walk, from, want).await?,
        };
        Ok(Slice::cut(rows, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
