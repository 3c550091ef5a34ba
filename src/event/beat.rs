//! Heartbeats (on `grid.heartbeats`, one partition, read by every jobmaster and worker): liveness, load and credits.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::version::{Version, Wire};
use crate::domain::{Incarnation, Labels, Timestamp, WorkerName};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Beat {
    Worker(WorkerBeat),
    Jobmaster(JobmasterBeat),
}

impl Beat {
    /// Of the log that its sender works on, when it says so.
    pub const fn timeline(&self) -> Option<Uuid> {
        match self {
            Self::Worker(beat) => beat.timeline,
            Self::Jobmaster(beat) => beat.timeline,
        }
    }
}

impl Wire for Beat {
    const WHAT: &'static str = "heartbeat";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerBeat {
    pub v: Version<1>,
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    /// Of the log that it works on; absent: written before it stood here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeline: Option<Uuid>,
    /// By the worker's own clock, which never jumps.
    pub sent_at: Timestamp,
    /// What the clock of its machine said then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock: Option<Timestamp>,
    pub endpoint_url: String,
    pub max_capacity: u32,
    /// Attempts that run now.
    pub running: u32,
    /// Attempts that wait in the worker for a slot.
    pub queued: u32,
    #[serde(default)]
    pub labels: Labels,
    /// Takes no new work, and is about to leave, or cannot be heard well.
    pub draining: bool,
    /// Takes no new work; what runs goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cordoned: bool,
    /// The last one of this process.
    #[serde(default)]
    pub leaving: bool,
    /// Of the process, 1.0 = one core.
    #[serde(default)]
    pub cpu_cores: f64,
    #[serde(default)]
    pub memory_bytes: u64,
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// Credits, cumulative since both processes began, so that a late or repeated one does no harm: the jobmaster may
/// have sent `granted` charged assignments to this worker in all, less those it gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub jobmaster: Incarnation,
    pub granted: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobmasterBeat {
    pub v: Version<1>,
    pub jobmaster: Incarnation,
    /// Of the log that it works on; absent: written before it stood here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeline: Option<Uuid>,
    pub sent_at: Timestamp,
    /// Has READY tasks that wait for a credit.
    pub hungry: bool,
    /// The last one of this process.
    #[serde(default)]
    pub leaving: bool,
    /// What became of the credits of each worker process.
    #[serde(default)]
    pub returned: Vec<ReturnedCredits>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnedCredits {
    pub worker: Incarnation,
    pub returned: u64,
    /// Credits used up, cumulative: by charged assignments, those that were never sent or got lost included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub used: u64,
    /// None of the tasks that wait may run on this worker: more credits of it are of no use now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwanted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
