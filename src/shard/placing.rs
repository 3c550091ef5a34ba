//! What this process knows of placing the tasks of a shard: for explaining, not for deciding.
//!
//! Must stay true: it tells what is known here and whether that is what decides; nothing is made up for a shard that
//! another process owns.

use std::time::Duration;

use super::directory::Liveness;
use crate::domain::{Incarnation, Labels, Timestamp, WorkerName, has_labels};

/// The workers that are heard, as of now.
#[derive(Clone, Debug)]
pub struct Placing {
    /// This process owns the shard: its credits decide.
    pub here: bool,
    /// The shard is this process' and cannot be opened until somebody has done something.
    pub stopped: Option<String>,
    /// The shard is this process' and does not work at the moment; it is tried again and again.
    pub failing: Option<String>,
    /// Heartbeats can be heard at the moment.
    pub connected: bool,
    /// Silence after which a worker's attempts are lost.
    pub lost_after: Duration,
    /// By name.
    pub workers: Vec<Candidate>,
}

/// A worker process that tasks may be placed on, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    pub labels: Labels,
    pub liveness: Liveness,
    pub heard_at: Timestamp,
    /// Takes no new work and is about to leave, or cannot be heard well.
    pub draining: bool,
    pub cordoned: bool,
    /// As of its last heartbeat.
    pub running: u32,
    pub queued: u32,
    pub max_capacity: u32,
    /// Assignments that it still takes from this process.
    pub credits: u64,
}

impl Candidate {
    pub fn has(&self, required: &Labels) -> bool {
        has_labels(&self.labels, required)
    }

    pub fn is_silent(&self) -> bool {
        self.liveness != Liveness::Active
    }

    /// Whether it takes new work at all.
    pub fn is_open(&self) -> bool {
        !self.is_silent() && !self.draining && !self.cordoned
    }

    /// Whether all its slots are taken, as of its last heartbeat.
    pub const fn is_full(&self) -> bool {
        self.running.saturating_add(self.queued) >= self.max_capacity
    }
}

impl Placing {
    pub fn worker(&self, incarnation: Incarnation) -> Option<&Candidate> {
        self.workers.iter().find(|worker| worker.incarnation == incarnation)
    }
}
