//! What workers say (on `grid.reports`): of attempts to the job's shard, of themselves to the shard of their name;
//! repeated until acknowledged. A worker writes here and to the heartbeats, and nowhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::assignment::AttemptRef;
use super::beat::Grant;
use super::version::{Version, Wire};
use crate::domain::{AttemptOutcome, Failure, Incarnation, Labels, Standing, Timestamp, WorkerName};

/// One message per (worker, shard): items in the order in which things happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportMessage {
    pub v: Version<1>,
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    /// Of the log whose assignments it speaks of: those of another one mean nothing to a shard. Absent: written before it
    /// stood here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeline: Option<Uuid>,
    pub sent_at: Timestamp,
    /// What the worker grants, to the jobmaster that owns the shard among others.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub grants: Vec<Grant>,
    pub items: Vec<ReportItem>,
}

impl Wire for ReportMessage {
    const WHAT: &'static str = "report";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ReportItem {
    /// The worker process has begun. To the shard `worker.slot(shards)`.
    Began {
        endpoint_url: String,
        max_capacity: u32,
        #[serde(skip_serializing_if = "Labels::is_empty", default)]
        labels: Labels,
        /// Read later than that, nobody wants it any more.
        not_after: Timestamp,
    },
    /// The process takes no work any more and has ended what it had. To the same shard.
    Left {},
    Started {
        attempt: AttemptRef,
    },
    Ended {
        attempt: AttemptRef,
        outcome: Outcome,
    },
    /// All attempts of this shard whose end is not acknowledged: what is RUNNING and not among them is lost, what is
    /// SCHEDULED and not among them is sent again, what is among them and unknown is cancelled.
    Inventory {
        attempts: Vec<AttemptRef>,
        /// As the worker believes; when its history says otherwise, it is told again.
        #[serde(skip_serializing_if = "is_usual", default)]
        standing: Standing,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Outcome {
    Completed {
        #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
        counters: BTreeMap<String, u64>,
    },
    Failed {
        failure: Failure,
    },
    HandedBack,
}

impl From<Outcome> for AttemptOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed { counters } => Self::Completed { counters },
            Outcome::Failed { failure } => Self::Failed(failure),
            Outcome::HandedBack => Self::HandedBack,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
pub(super) fn is_usual(standing: &Standing) -> bool {
    *standing == Standing::default()
}
