//! A job as bytes and back, for snapshots: a JSON head, then the packed records of its tasks.
//!
//! Layout: `u32` length of the head, head, records of 32 bytes, all little-endian. A snapshot is only ever a shortcut:
//! one that cannot be read is ignored and the job is folded from its events.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{FailureReason, TaskState};
use super::job::{FanOut, FanOutKind, Job};
use super::ready::ReadyQueues;
use super::task::TaskRecord;
use super::{Counters, GroupIndex, Incarnation, JobId, JobSpec, JobStatus, Timestamp, WorkerName};

/// Version of the layout; another one is not read.
pub const SNAPSHOT_SCHEMA: u16 = 1;

const RECORD_BYTES: usize = 32;

/// A snapshot that is not what this version writes.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot cannot be read: {0}")]
pub struct SnapshotError(String);

#[derive(Serialize, Deserialize)]
struct Head {
    id: JobId,
    version: u32,
    spec: Arc<JobSpec>,
    submitted_at: Timestamp,
    deadline: Option<(Timestamp, u32)>,
    workers: Vec<(WorkerName, Incarnation)>,
    counters: Counters,
    fan_outs: Vec<(u8, u32, u32)>,
    stopping: bool,
    finished: Option<JobStatus>,
    commands: VecDeque<Uuid>,
    tasks: u32,
}

const KINDS: [FanOutKind; 5] = [
    FanOutKind::Submission,
    FanOutKind::Kill,
    FanOutKind::Stop,
    FanOutKind::Deadline,
    FanOutKind::Retry,
];

impl Job {
    /// The job as bytes, uncompressed: the head and 32 bytes a task.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let kind = |kind| KINDS.iter().position(|other| *other == kind).unwrap_or(0) as u8;
        let head = Head {
            id: self.id,
            version: self.version,
            spec: Arc::clone(&self.spec),
            submitted_at: self.submitted_at,
            deadline: self.deadline,
            workers: self.workers.clone(),
            counters: self.counters.clone(),
            fan_outs: self
                .fan_outs
                .iter()
                .map(|it| (kind(it.kind), it.request, it.next_task))
                .collect(),
            stopping: self.stopping,
            finished: self.finished,
            commands: self.commands.clone(),
            tasks: self.written(),
        };
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let mut bytes = Vec::with_capacity(4 + head.len() + self.tasks.len() * RECORD_BYTES);
        bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
        for record in &self.tasks {
            bytes.extend_from_slice(&pack(record));
        }
        bytes
    }

    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let wrong = |what: &str| SnapshotError(what.to_owned());
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("it is too short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (head, records) = rest
            .split_at_checked(length)
            .ok_or_else(|| wrong("its head is cut off"))?;
        let head: Head = serde_json::from_slice(head).map_err(|error| SnapshotError(error.to_string()))?;
        if records.len() != head.tasks as usize * RECORD_BYTES {
            return Err(wrong("its records are cut off"));
        }
        let tasks = records
            .as_chunks::<RECORD_BYTES>()
            .0
            .iter()
            .map(|bytes| unpack(bytes).ok_or_else(|| wrong("a record holds an unknown state")))
            .collect::<Result<Vec<_>, _>>()?;
        let fan_out = |(kind, request, next_task): (u8, u32, u32)| {
            let kind = *KINDS
                .get(usize::from(kind))
                .ok_or_else(|| wrong("it holds an unknown fan-out"))?;
            Ok(FanOut {
                kind,
                request,
                next_task,
            })
        };
        let mut job = Self {
            id: head.id,
            version: head.version,
            index: GroupIndex::new(&head.spec),
            spec: head.spec,
            submitted_at: head.submitted_at,
            deadline: head.deadline,
            tasks,
            workers: head.workers,
            worker_index: HashMap::new(),
            counters: head.counters,
            fan_outs: head.fan_outs.into_iter().map(fan_out).collect::<Result<_, _>>()?,
            stopping: head.stopping,
            finished: head.finished,
            active: HashSet::new(),
            ready: ReadyQueues::default(),
            commands: head.commands,
        };
        job.derive();
        Ok(job)
    }
}

fn pack(record: &TaskRecord) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[0..8].copy_from_slice(&record.due.as_ms().to_le_bytes());
    bytes[8..12].copy_from_slice(&record.version.to_le_bytes());
    bytes[12..16].copy_from_slice(&record.timer_version.to_le_bytes());
    bytes[16..20].copy_from_slice(&record.attempt.to_le_bytes());
    bytes[20..24].copy_from_slice(&record.worker.to_le_bytes());
    bytes[24..26].copy_from_slice(&record.retries_used.to_le_bytes());
    bytes[26..32].copy_from_slice(&[
        record.losses_used,
        record.handed_back,
        record.restarts,
        record.state as u8,
        record.reason as u8,
        record.flags,
    ]);
    bytes
}

fn unpack(bytes: &[u8; RECORD_BYTES]) -> Option<TaskRecord> {
    let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (due, _) = bytes.split_first_chunk::<8>()?;
    Some(TaskRecord {
        due: Timestamp::from_ms(i64::from_le_bytes(*due)),
        version: u32_at(8),
        timer_version: u32_at(12),
        attempt: u32_at(16),
        worker: u32_at(20),
        retries_used: u16::from_le_bytes([bytes[24], bytes[25]]),
        losses_used: bytes[26],
        handed_back: bytes[27],
        restarts: bytes[28],
        state: *TaskState::ALL.get(usize::from(bytes[29]))?,
        reason: *FailureReason::ALL.get(usize::from(bytes[30]))?,
        flags: bytes[31],
    })
}
