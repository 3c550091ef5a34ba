//! What of a job's document the domain has to know: how many tasks, how they are retried, timed and placed.
//!
//! The programs themselves (DAG nodes, commands) stay in the document, which is kept by its hash; see `crate::document`.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Labels of a job, or of a worker, or required of a worker.
pub type Labels = BTreeMap<String, String>;

/// Whether a worker of these labels has all that are required.
pub fn has_labels(labels: &Labels, required: &Labels) -> bool {
    required.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// The most tasks that one job may have.
pub const MAX_TASKS_PER_JOB: u32 = 1_000_000;

/// How failures are retried. Delay before retry n (from 0): `base * factor^n`, at most `max_delay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    pub max_retries: u16,
    pub base_ms: u64,
    pub factor: f64,
    pub max_delay_ms: u64,
    /// Full jitter: the delay is drawn between zero and the computed one.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            base_ms: 1_000,
            factor: 2.0,
            max_delay_ms: 3_600_000,
            jitter: false,
        }
    }
}

impl RetryPolicy {
    /// The delay before the retry that follows `retries_used` earlier ones. `jitter` is drawn from 0 to 1.
    pub fn delay(&self, retries_used: u16, jitter: f64) -> Duration {
        if self.base_ms == 0 {
            // Zero times an infinite power is no number.
            return Duration::ZERO;
        }
        let exponential = self.base_ms as f64 * self.factor.powi(i32::from(retries_used));
        let capped = exponential.min(self.max_delay_ms as f64);
        let drawn = if self.jitter { capped * jitter } else { capped };
        Duration::from_millis(drawn.max(0.0) as u64)
    }
}

/// Time limits of one attempt. Absent: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From SCHEDULED to RUNNING.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub start_ms: Option<u64>,
    /// From RUNNING to its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_ms: Option<u64>,
}

/// What several groups of tasks have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    pub retry: RetryPolicy,
    pub timeouts: Timeouts,
    #[serde(skip_serializing_if = "Labels::is_empty", default)]
    pub requires: Labels,
}

/// How a task is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExecutorKind {
    Noop,
    Process,
    Pipeline,
}

/// One task of the document with its replicas, which have neighbouring numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskGroup {
    /// The document's name; replica i of several is called `<external_id>-<i>`.
    pub external_id: String,
    /// At least 1: a group without replicas is left out.
    pub replicas: u32,
    pub executor: ExecutorKind,
    /// Index into the job's `policies`.
    pub policy: u32,
}

/// The part of a job's document that decides its life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobSpec {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external_id: Option<String>,
    #[serde(skip_serializing_if = "Labels::is_empty", default)]
    pub labels: Labels,
    /// SHA-256 of the normalised document, in hexadecimal.
    pub document_hash: String,
    pub task_count: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_parallel: Option<u32>,
    /// Time from the submission to the job's deadline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_ms: Option<u64>,
    pub policies: Vec<Policy>,
    /// In document order; their replicas sum to `task_count`.
    pub groups: Vec<TaskGroup>,
}

/// Where a task stands in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPlace<'a> {
    /// Index into [`JobSpec::groups`].
    pub group_index: usize,
    pub group: &'a TaskGroup,
    /// From 0.
    pub replica_index: u32,
}

impl TaskPlace<'_> {
    /// The task's name: unique within its job.
    pub fn external_id(&self) -> String {
        if self.group.replicas > 1 {
            format!("{}-{}", self.group.external_id, self.replica_index)
        } else {
            self.group.external_id.clone()
        }
    }
}

/// The first task number of each group, for finding the group of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupIndex(Vec<u32>);

impl GroupIndex {
    pub fn new(spec: &JobSpec) -> Self {
        let mut next = 1_u32;
        Self(
            spec.groups
                .iter()
                .map(|group| {
                    let first = next;
                    next = next.saturating_add(group.replicas);
                    first
                })
                .collect(),
        )
    }

    /// The place of task `number` (from 1); `None` when the job has no such task.
    pub fn place<'a>(&self, spec: &'a JobSpec, number: u32) -> Option<TaskPlace<'a>> {
        let group_index = self.0.partition_point(|first| *first <= number).checked_sub(1)?;
        let group = spec.groups.get(group_index)?;
        let replica_index = number - self.0[group_index];
        (replica_index < group.replicas).then_some(TaskPlace {
            group_index,
            group,
            replica_index,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_the_documentation() {
        let policy = RetryPolicy::default();
        let seconds: Vec<u64> = (0..4).map(|used| policy.delay(used, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8]);
        assert_eq!(policy.max_retries, 3);
        assert_eq!(policy.delay(200, 0.0), Duration::from_secs(3_600));
        assert_eq!(
            RetryPolicy { jitter: true, ..policy }.delay(2, 0.5),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn tasks_are_numbered_in_document_order() {
        let group = |external_id: &str, replicas| TaskGroup {
            external_id: external_id.into(),
            replicas,
            executor: ExecutorKind::Noop,
            policy: 0,
        };
        let spec = JobSpec {
            task_count: 5,
            groups: vec![group("a", 1), group("b", 4)],
            ..JobSpec::default()
        };
        let index = GroupIndex::new(&spec);
        let names: Vec<_> = (0..=6)
            .map(|n| index.place(&spec, n).map(|place| place.external_id()))
            .collect();
        let expected = [
            None,
            Some("a"),
            Some("b-0"),
            Some("b-1"),
            Some("b-2"),
            Some("b-3"),
            None,
        ];
        assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
    }
}
