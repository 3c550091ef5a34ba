//! What an executor is given, and what it gives back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::unistd::Pid;
use tokio::sync::watch;

use super::lines::LineSink;
use super::secrets::Secrets;
use super::usage::{self, Usage};
use crate::document::TaskSpec;
use crate::domain::{Attempt, Failure, FailureReason, JobId, TaskId, WorkerName};
use crate::metrics::Tags;
use crate::worker::pipeline::{PipelineCounters, PipelineReport};
use crate::worker::{Checkpoints, LetterPost, Reported};

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
    /// Filled while it runs.
    pub live: LiveCounters,
    pub checkpoints: Checkpoints,
    pub letters: LetterPost,
    /// W3C trace context of its execution, when spans are told.
    pub traceparent: Option<Arc<str>>,
    /// Where its program may report metrics of its own.
    pub reported: Reported,
}

impl AttemptContext {
    /// Whose points are the attempt's.
    pub fn tags(&self) -> Tags {
        Tags::from([
            ("job_id", self.job.to_string()),
            ("task_id", self.task_id.to_string()),
            ("worker_id", self.worker.to_string()),
        ])
    }
}

/// What an attempt has counted so far, for others to read while it runs.
#[derive(Clone, Debug, Default)]
pub struct LiveCounters(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    pipeline: OnceLock<Arc<PipelineCounters>>,
    /// The leader of the attempt's session of processes.
    leader: OnceLock<Pid>,
    /// Of these processes, as measured last; once they are gone, at their end.
    used: Mutex<Option<Usage>>,
    lines: AtomicU64,
    bytes: AtomicU64,
}

impl LiveCounters {
    /// `None`: not (yet) a running pipeline.
    pub fn get(&self) -> Option<&PipelineCounters> {
        self.0.pipeline.get().map(Arc::as_ref)
    }

    /// Lines and bytes of output.
    pub fn output(&self) -> (u64, u64) {
        (
            self.0.lines.load(Ordering::Relaxed),
            self.0.bytes.load(Ordering::Relaxed),
        )
    }

    /// What the attempt's processes had used when they were measured last; `None`: it has none.
    pub fn used(&self) -> Option<Usage> {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a program has been started for it.
    pub fn has_processes(&self) -> bool {
        self.0.leader.get().is_some()
    }

    /// Measures the attempt's processes, if it has any. May read all of /proc.
    pub fn measure(&self) -> Option<Usage> {
        self.add_usage(usage::of_session(*self.0.leader.get()?))
    }

    /// Measures what the attempt's leader, which has ended and is still to be reaped, used with all that it waited for.
    pub(super) fn measure_end(&self) {
        if let Some(leader) = self.0.leader.get() {
            self.add_usage(usage::of_ended(*leader));
        }
    }

    fn add_usage(&self, now: Option<Usage>) -> Option<Usage> {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Of what is gone nothing can be seen any more.
        if let Some(now) = now {
            let earlier = used.map_or(0.0, |used| used.cpu_seconds);
            *used = Some(Usage {
                cpu_seconds: now.cpu_seconds.max(earlier),
                ..now
            });
        }
        *used
    }

    pub(super) fn set(&self, counters: Arc<PipelineCounters>) {
        // Set once: an attempt runs one pipeline.
        let _ = self.0.pipeline.set(counters);
    }

    pub(super) fn set_leader(&self, leader: Pid) {
        // Set once: an attempt runs one program.
        let _ = self.0.leader.set(leader);
    }

    pub(super) fn add_line(&self, bytes: usize) {
        self.0.lines.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
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
