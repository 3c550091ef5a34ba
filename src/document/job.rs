//! The document's content as types.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{ExecutorKind, Labels, RetryPolicy, Timeouts};
use crate::worker::pipeline::DagNode;

/// A checked job document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobDocument {
    /// The client's name of the job; need not be unique.
    pub external_id: Option<String>,
    pub labels: Labels,
    /// What tasks that say nothing of their own get.
    pub retry: RetryPolicy,
    /// What tasks that say nothing of their own get.
    pub timeouts: Timeouts,
    /// From the submission to the job's deadline.
    pub deadline_ms: Option<u64>,
    pub max_parallel: Option<u32>,
    pub tasks: Vec<Arc<TaskSpec>>,
}

impl JobDocument {
    /// How many tasks the replicas sum to.
    pub fn task_count(&self) -> u32 {
        self.tasks.iter().fold(0, |sum, task| sum.saturating_add(task.replicas))
    }

    /// The task with `number` (from 1) and which replica of it, from 0.
    pub fn task(&self, number: u32) -> Option<(&Arc<TaskSpec>, u32)> {
        let mut before = 0_u32;
        for task in &self.tasks {
            if number > before && number - before <= task.replicas {
                return Some((task, number - before - 1));
            }
            before = before.saturating_add(task.replicas);
        }
        None
    }
}

/// One entry of `tasks`: a program and how often and how it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Unique within the job; replica i of several is called `<external_id>-<i>`.
    pub external_id: String,
    /// 0: the entry makes no task.
    pub replicas: u32,
    /// Labels that its worker must have.
    pub requires: Labels,
    /// The job's, with the entry's own fields put over it.
    pub retry: RetryPolicy,
    /// The job's, with the entry's own fields put over it.
    pub timeouts: Timeouts,
    /// Of a command alone.
    pub env: BTreeMap<String, EnvValue>,
    /// Of a command alone.
    pub limits: Limits,
    pub kind: TaskKind,
}

/// What a task runs.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskKind {
    Dag(Vec<DagNode>),
    Command {
        /// The program and its arguments; never empty.
        argv: Vec<String>,
    },
    Noop,
}

impl TaskKind {
    pub fn executor(&self) -> ExecutorKind {
        match self {
            Self::Dag(_) => ExecutorKind::Pipeline,
            Self::Command { .. } => ExecutorKind::Process,
            Self::Noop => ExecutorKind::Noop,
        }
    }
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    Text(String),
    /// The name of a secret, which the worker reads from its own folder.
    Secret(String),
}

/// What a command may use. `None`: no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// In MiB: of the whole command where its worker has a cgroup; else the address space of each of its processes.
    pub memory_mib: Option<u64>,
    /// Processors that the command may run on; more than the worker has are all of them.
    pub cpus: Option<u32>,
    /// Processor time of each process of the command, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Files that each process of the command may have open.
    pub open_files: Option<u64>,
    /// Processes and threads of the whole command, where its worker has a cgroup.
    pub processes: Option<u64>,
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
