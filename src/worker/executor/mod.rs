//! Executors: what runs one attempt at a task, behind one trait.
//!
//! Must stay true:
//! - `run` returns only when nothing of the attempt runs any more (or, for a process that the kernel will not let go of,
//!   after a stated time), and dropping it kills what runs.
//! - A process is known to the guardian before its program begins, and forgotten before its id can be given away again,
//!   so no death of the worker leaves one behind and no stranger is ever killed.
//! - What an attempt writes cannot hurt the worker: lines, kept lines and queues are bounded, text is made valid.
//! - A secret's value goes to the program alone: it is neither kept nor shown, and lines that hold it are masked.

mod attempt;
mod cgroup;
mod child;
mod environment;
mod guardian;
mod launch;
mod limits;
mod lines;
mod noop;
mod pipeline;
mod process;
mod processors;
mod saving;
mod secrets;
mod session;
mod usage;
mod verdict;

#[cfg(test)]
mod tests;

use async_trait::async_trait;

pub use attempt::{AttemptContext, Completion, Control, ControlState, LiveCounters, Outcome};
pub use cgroup::Cgroups;
pub use guardian::{GUARDIAN_ARGUMENT, Guardian, GuardianError, GuardianOptions, guardian_main};
pub use lines::{LineSink, LogLine, Stream};
pub use noop::NoopExecutor;
pub use pipeline::PipelineExecutor;
pub use process::{ProcessExecutor, ProcessOptions};
pub use secrets::{Secret, SecretError, Secrets};
pub use usage::Usage;

use crate::domain::ExecutorKind;

/// Runs attempts of one kind.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Runs the attempt to its end. `control` asks for an earlier one; see [`ControlState`].
    ///
    /// Cancellation: dropping the future kills what runs.
    async fn run(&self, attempt: AttemptContext, control: Control) -> Outcome;
}

/// One executor of each kind.
pub struct Executors {
    noop: NoopExecutor,
    pipeline: PipelineExecutor,
    process: ProcessExecutor,
}

impl Executors {
    pub fn new(process: ProcessOptions, guardian: Guardian) -> Self {
        Self {
            noop: NoopExecutor,
            pipeline: PipelineExecutor,
            process: ProcessExecutor::new(process, guardian),
        }
    }

    /// Limits of processes are those of cgroups made here, as far as there are such.
    #[must_use]
    pub fn within(mut self, cgroups: Option<Cgroups>) -> Self {
        self.process = self.process.within(cgroups);
        self
    }

    pub fn get(&self, kind: ExecutorKind) -> &dyn Executor {
        match kind {
            ExecutorKind::Noop => &self.noop,
            ExecutorKind::Process => &self.process,
            ExecutorKind::Pipeline => &self.pipeline,
        }
    }
}

#[async_trait]
impl Executor for Executors {
    async fn run(&self, attempt: AttemptContext, control: Control) -> Outcome {
        self.get(attempt.task.kind.executor()).run(attempt, control).await
    }
}
