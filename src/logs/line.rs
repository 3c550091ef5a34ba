//! A line of a task as it is stored and shown: the fields of logstash, whose line it is, and whatever else it brought.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// Names that a line of a task cannot set: they say whose it is, or where it was written.
pub const RESERVED: [&str; 17] = [
    "@timestamp",
    "@version",
    "_msg",
    "_position",
    "_stream",
    "_stream_id",
    "_time",
    "message",
    "level",
    "logger_name",
    "job_id",
    "task_id",
    "worker_id",
    "attempt",
    "source",
    "service",
    "stream",
];

/// One line. JSON has these names and, beside them, those of `fields`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When the worker read it.
    #[serde(rename = "@timestamp")]
    pub at: Timestamp,
    pub message: String,
    /// TRACE, DEBUG, INFO, WARN, ERROR or FATAL.
    pub level: String,
    /// As the line has it, else the stream it was written to.
    pub logger_name: String,
    pub job_id: String,
    pub task_id: String,
    pub worker_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// `task`: what a task wrote; `worker`: what the worker says of its output.
    pub source: String,
    pub service: String,
    /// `stdout` or `stderr`.
    #[serde(default)]
    pub stream: String,
    /// Rises over the lines of a worker; 0: it has none. Between processes and stores, never shown.
    #[serde(rename = "_position", default, skip_serializing_if = "is_zero")]
    pub position: i64,
    #[serde(flatten)]
    pub fields: BTreeMap<String, String>,
}

impl Line {
    /// As people see it.
    #[must_use]
    pub fn shown(self) -> Self {
        Self { position: 0, ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(position: &i64) -> bool {
    *position == 0
}
