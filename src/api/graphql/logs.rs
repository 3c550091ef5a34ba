//! Lines that tasks wrote.

use async_graphql::{ID, InputObject, SimpleObject};

use super::scalar::{DateTime, Json};
use crate::api::logs::{Found, Wanted};
use crate::api::problem::Problem;
use crate::logs::Line;

/// Which lines: those that all of it fits.
#[derive(Default, InputObject)]
pub struct LogFilter {
    /// A filter in LogsQL, without pipes.
    query: Option<String>,
    /// Of one of these jobs.
    job_ids: Option<Vec<ID>>,
    /// Of one of these tasks.
    task_ids: Option<Vec<ID>>,
    /// Of tasks on one of these workers.
    worker_ids: Option<Vec<ID>>,
    /// Of one of these levels, in any case; `warning` is WARN.
    levels: Option<Vec<String>>,
}

impl TryFrom<LogFilter> for Wanted {
    type Error = Problem;

    fn try_from(filter: LogFilter) -> Result<Self, Problem> {
        let ids = |ids: Option<Vec<ID>>| ids.into_iter().flatten().map(|id| id.0).collect();
        let levels = filter.levels.unwrap_or_default();
        let values = [
            ids(filter.job_ids),
            ids(filter.task_ids),
            ids(filter.worker_ids),
            levels,
        ];
        Self::new(filter.query, values)
    }
}

/// A line that a task wrote.
#[derive(SimpleObject)]
pub struct LogLine {
    /// When the worker read it.
    at: DateTime,
    message: String,
    /// `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`.
    level: String,
    /// As the line has it, else the stream.
    logger_name: String,
    job_id: ID,
    task_id: ID,
    worker_id: ID,
    attempt: Option<u32>,
    /// `task`: what the task wrote; `worker`: what the worker says of its output.
    source: String,
    service: String,
    /// `stdout` or `stderr`.
    stream: String,
    /// What a JSON line brought besides, by path; and `stack_trace`.
    fields: Json,
}

impl From<Line> for LogLine {
    fn from(line: Line) -> Self {
        Self {
            at: line.at.into(),
            fields: Json::of(&line.fields),
            message: line.message,
            level: line.level,
            logger_name: line.logger_name,
            job_id: ID(line.job_id),
            task_id: ID(line.task_id),
            worker_id: ID(line.worker_id),
            attempt: line.attempt,
            source: line.source,
            service: line.service,
            stream: line.stream,
        }
    }
}

/// Lines that were found.
#[derive(SimpleObject)]
pub struct LogPage {
    /// The newest first.
    lines: Vec<LogLine>,
    /// Goes on behind the last line; null when there are no more.
    next_cursor: Option<String>,
    /// There are more.
    truncated: bool,
}

impl From<Found> for LogPage {
    fn from(found: Found) -> Self {
        Self {
            lines: found.lines.into_iter().map(LogLine::from).collect(),
            next_cursor: found.next_cursor,
            truncated: found.truncated,
        }
    }
}

/// A line as it came.
#[derive(SimpleObject)]
pub struct LogItem {
    /// Null: none that was asked for has come, go on from the position.
    pub line: Option<LogLine>,
    /// How lines of a worker come from now on: when it is not reached, from the store.
    pub notice: Option<String>,
    /// The token after this item, for `after`.
    pub position: String,
}
