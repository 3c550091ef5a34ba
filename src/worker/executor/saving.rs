//! Keeps the checkpoints that a running pipeline takes, and finds the one from which it goes on.
//!
//! Must stay true: a checkpoint is kept only when the files that it tells of are on the disk; the pipeline waits for
//! none of this.

use std::time::Duration;

use tokio::sync::mpsc;

use super::attempt::AttemptContext;
use crate::clock;
use crate::domain::{Attempt, TaskId};
use crate::worker::pipeline::{Resume, Taken};
use crate::worker::{CheckpointError, Checkpoints};

/// How long a run that has failed waits until its last checkpoint is kept: once its end is reported, that is refused.
pub const LAST_WORDS: Duration = Duration::from_secs(5);

/// What an earlier attempt kept, when there is one and it can be had.
pub async fn kept_before(attempt: &AttemptContext) -> Option<Resume> {
    if attempt.attempt.0 <= 1 || attempt.checkpoints.every().is_none() {
        return None;
    }
    match attempt.checkpoints.load(attempt.task_id, attempt.attempt).await {
        Ok(stored) => stored
            .filter(|stored| stored.attempt < attempt.attempt.0)
            .map(|stored| Resume {
                attempt: stored.attempt,
                data: stored.data,
            }),
        Err(error) => {
            metrics::counter!("grid_worker_checkpoint_failures_total", "what" => "load").increment(1);
            tracing::warn!(%error, task = %attempt.task_id, "attempt.checkpoint.not_loaded");
            None
        }
    }
}

/// Takes what a run hands over.
pub struct Saving {
    checkpoints: Checkpoints,
    task: TaskId,
    attempt: Attempt,
    taken: mpsc::Receiver<Taken>,
    /// The newest that is kept.
    kept: Option<Taken>,
}

impl Saving {
    pub fn new(attempt: &AttemptContext, taken: mpsc::Receiver<Taken>) -> Self {
        Self {
            checkpoints: attempt.checkpoints.clone(),
            task: attempt.task_id,
            attempt: attempt.attempt,
            taken,
            kept: None,
        }
    }

    /// Keeps one after the other, until the run has ended.
    pub async fn until_the_end(mut self) -> Self {
        while let Some(taken) = self.taken.recv().await {
            self.keep(taken).await;
        }
        self
    }

    async fn keep(&mut self, taken: Taken) {
        let sync = move || taken.sync().map(|()| taken);
        let synced = tokio::task::spawn_blocking(sync).await;
        let taken = match synced.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(taken) => taken,
            Err(error) => return self.failed(&error),
        };
        match self.save(&taken).await {
            Ok(()) => {
                metrics::counter!("grid_worker_checkpoints_total").increment(1);
                self.kept = Some(taken);
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn save(&self, taken: &Taken) -> Result<(), CheckpointError> {
        let ts = clock::now().as_ms();
        self.checkpoints.save(self.task, self.attempt, ts, &taken.data).await
    }

    fn failed(&self, error: &dyn std::error::Error) {
        metrics::counter!("grid_worker_checkpoint_failures_total", "what" => "save").increment(1);
        tracing::warn!(%error, task = %self.task, "attempt.checkpoint.not_kept");
    }

    /// The run was cancelled: when that was the end of its task, nobody will go on from its part files. Else they stay
    /// for the next attempt.
    pub async fn tidy_up(self) {
        let Some(kept) = self.kept.as_ref() else { return };
        if !matches!(self.save(kept).await, Err(CheckpointError::TaskFinished)) {
            return;
        }
        for part in kept.parts() {
            if let Err(error) = tokio::fs::remove_file(part).await {
                tracing::debug!(%error, part = %part.display(), "attempt.part_file.not_removed");
            }
        }
    }
}
