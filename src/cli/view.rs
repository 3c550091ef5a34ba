//! The server's objects as far as the tables need them; what a newer server adds is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::Timestamp;

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default)]
    pub page: u64,
    #[serde(default)]
    pub total: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Counters {
    pub ready: u64,
    pub scheduled: u64,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
}

impl Counters {
    pub fn total(self) -> u64 {
        self.ready + self.scheduled + self.running + self.completed + self.failed
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub job_id: String,
    pub external_id: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub task_counters: Counters,
    pub status: String,
    #[serde(default)]
    pub retries_pending: u64,
    #[serde(default)]
    pub failure_summary: BTreeMap<String, u64>,
}

impl Job {
    pub fn is_finished(&self) -> bool {
        self.status != "RUNNING"
    }

    /// Tasks that will not change any more.
    pub fn done(&self) -> u64 {
        self.task_counters.completed + self.failed_for_good()
    }

    /// A task that waits for its retry counts as failed, but is not done.
    pub fn failed_for_good(&self) -> u64 {
        self.task_counters.failed.saturating_sub(self.retries_pending)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub task_id: String,
    pub external_id: Option<String>,
    pub state: String,
    pub attempt: u32,
    pub retry_count: u32,
    pub max_retries: u32,
    pub next_retry_at: Option<Timestamp>,
    pub worker_id: Option<String>,
    pub failure: Option<Failure>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub reason: String,
    #[serde(default)]
    pub message: String,
    pub exit_code: Option<i64>,
    #[serde(default)]
    pub causes: Vec<String>,
    #[serde(default)]
    pub last_log_lines: Vec<String>,
}

impl Failure {
    /// In one line.
    pub fn summary(&self) -> String {
        format!("{}: {}", self.reason, self.message.lines().next().unwrap_or_default())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    pub worker_id: String,
    pub current_tasks: u64,
    pub max_capacity: u64,
    pub state: String,
    #[serde(default)]
    pub draining: bool,
    #[serde(default)]
    pub cordoned: bool,
    pub last_heartbeat_at: Option<Timestamp>,
    pub registered_at: Option<Timestamp>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// A token: opaque.
    pub position: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub stream_version: Option<u64>,
    pub at: Timestamp,
    pub principal: Option<String>,
    #[serde(default)]
    pub data: Value,
}
