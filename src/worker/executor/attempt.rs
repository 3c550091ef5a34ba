//! What an executor is given, and what it gives back.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::lines::LineSink;
use super::secrets::Secrets;
use crate::document::TaskSpec;
use crate::domain::{Attempt, Failure, FailureReason, JobId, TaskId, WorkerName};
use crate::worker::Checkpoints;
use crate::worker::pipeline::{PipelineCounters, PipelineReport};

/// One attempt at one task.
#[derive(Clone, Debug)]
pub struct AttemptContext {
    pub job: JobId,
    pub task: Arc<TaskSpec>,
    pub task_id: TaskId,
    pub attempt: Attempt,
    pub worker: WorkerName,
    /// From 0.
    pub replica_index: u32,
    pub replica_count: u32,
    /// The worker's data folder: relative paths are under it.
    pub data_dir: PathBuf,
    /// Folders that a pipeline may read and write by absolute path.
    pub allow_paths: Vec<PathBuf>,
    pub secrets: Secrets,
    /// Where the attempt's lines go.
    pub lines: LineSink,
    /// Filled while a pipeline runs.
    pub live: LiveCounters,
    pub checkpoints: Checkpoints,
}

/// The counters of an attempt's pipeline, for others to read while it runs.
#[derive(Clone, Debug, Default)]
pub struct LiveCounters(Arc<OnceLock<Arc<PipelineCounters>>>);

impl LiveCounters {
    /// `None`: not (yet) a running pipeline.
    pub fn get(&self) -> Option<&PipelineCounters> {
        self.0.get().map(Arc::as_ref)
    }

    pub(super) fn set(&self, counters: Arc<PipelineCounters>) {
        // Set once: an attempt runs one pipeline.
        let _ = self.0.set(counters);
    }
}

/// What the worker wants of a running attempt. Only ever goes forward; a dropped sender counts as [`Self::Kill`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlState {
    #[default]
    Run,
    /// End well: a pipeline ends its sources, flushes and completes; a process gets SIGTERM and completes only with exit
    /// code 0.
    Stop,
    /// End now: a process gets SIGTERM, and SIGKILL after the grace.
    Kill,
}

pub type Control = watch::Receiver<ControlState>;

/// The next state beyond `asked`. Its sender's end counts as Kill: nobody is left to want the attempt.
pub(super) async fn next_wish(control: &mut Control, asked: ControlState) -> ControlState {
    match control.wait_for(|wish| *wish > asked).await {
        Ok(wish) => *wish,
        Err(_) => ControlState::Kill,
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Completed(Completion),
    Failed(Failure),
}

/// What a completed attempt tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// Lines of output.
    pub lines: u64,
    /// Bytes of output.
    pub bytes: u64,
    /// What a pipeline counted.
    pub pipeline: Option<PipelineReport>,
}

impl Outcome {
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(reason, message).capped())
    }
}
