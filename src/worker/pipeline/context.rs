//! What a run of a pipeline is told by the task that runs it: which replica and attempt it is, where its files may be,
//! and the switch by which it can be stopped or cancelled from another thread.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::checkpoint::{Keeper, Resume};
use super::letter_source::LetterReader;
use super::letterbox::Letterbox;
use super::secret::SecretReader;

/// One replica of one attempt.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// From 0.
    pub replica_index: u32,
    /// At least 1.
    pub replica_count: u32,
    /// From 1; part files carry it in their names.
    pub attempt: u32,
    /// Relative paths stand under it.
    pub data_dir: PathBuf,
    /// Absolute paths must lie inside one of these.
    pub allow_paths: Vec<PathBuf>,
    pub control: Control,
    /// What an earlier attempt kept.
    pub resume: Option<Resume>,
    /// Where this run's checkpoints go; without it none are taken.
    pub keeper: Option<Keeper>,
    /// What the worker keeps for programs that must show who they are.
    pub secrets: SecretReader,
    /// Where records go that failed.
    pub letterbox: Letterbox,
    /// Where such records of other jobs are read.
    pub letters: LetterReader,
}

/// What a running pipeline shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RunState {
    Run = 0,
    /// End the sources, flush, and complete.
    Stop = 1,
    /// Leave at once; nothing of this attempt remains.
    Cancel = 2,
}

/// The switch of one run; clones are the same switch. It only ever moves on, from Run over Stop to Cancel.
#[derive(Debug, Clone, Default)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    /// Guards nothing but the wait, so that a change is never missed between the check and the sleep.
    gate: Mutex<()>,
    changed: Condvar,
    /// The same, for who waits in a runtime.
    told: Notify,
}

impl Control {
    pub fn stop(&self) {
        self.advance(RunState::Stop);
    }

    pub fn cancel(&self) {
        self.advance(RunState::Cancel);
    }

    pub fn state(&self) -> RunState {
        match self.shared.state.load(Ordering::Acquire) {
            0 => RunState::Run,
            1 => RunState::Stop,
            _ => RunState::Cancel,
        }
    }

    fn advance(&self, to: RunState) {
        let gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.state.fetch_max(to as u8, Ordering::AcqRel);
        drop(gate);
        self.shared.changed.notify_all();
        self.shared.told.notify_waiters();
    }

    /// Waits until the run is told so much, or more.
    pub(super) async fn told(&self, at_least: RunState) {
        let mut told = pin!(self.shared.told.notified());
        loop {
            // Before the look, so that no change after it is missed.
            told.as_mut().enable();
            if self.state() as u8 >= at_least as u8 {
                return;
            }
            told.as_mut().await;
            told.set(self.shared.told.notified());
        }
    }

    /// Waits until `deadline`, or until the state is no longer Run, and returns the state.
    pub(super) fn wait_until(&self, deadline: Instant) -> RunState {
        let mut gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let state = self.state();
            let left = deadline.saturating_duration_since(Instant::now());
            if state != RunState::Run || left == Duration::ZERO {
                return state;
            }
            gate = self
                .shared
                .changed
                .wait_timeout(gate, left)
                .map_or_else(|poison| poison.into_inner().0, |woken| woken.0);
        }
    }
}
