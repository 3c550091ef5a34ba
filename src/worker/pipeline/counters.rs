//! Counts of a run. The running thread counts in plain integers and publishes them once a batch; anybody else reads
//! the published ones through [`PipelineCounters`].

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts of one node. Bytes are counted where records enter and leave the pipeline: bytes in at sources (as read),
/// bytes out at sinks (as written).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    pub node: String,
    pub events_in: u64,
    pub events_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Records that failed at this node.
    pub errors: u64,
}

/// What the running thread keeps for one node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub events_in: u64,
    pub events_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
}

/// Live counts of a running pipeline, as of its last batch. Each number is exact and only rises; numbers read together
/// may come from two neighbouring batches.
#[derive(Debug)]
pub struct PipelineCounters {
    nodes: Vec<LiveNode>,
    dead_letters: AtomicU64,
}

#[derive(Debug)]
struct LiveNode {
    node: String,
    events_in: AtomicU64,
    events_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    errors: AtomicU64,
}

impl PipelineCounters {
    pub(super) fn new<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let nodes = ids
            .map(|id| LiveNode {
                node: id.to_owned(),
                events_in: AtomicU64::new(0),
                events_out: AtomicU64::new(0),
                bytes_in: AtomicU64::new(0),
                bytes_out: AtomicU64::new(0),
                errors: AtomicU64::new(0),
            })
            .collect();
        Self {
            nodes,
            dead_letters: AtomicU64::new(0),
        }
    }

    /// In the order of the dag.
    pub fn nodes(&self) -> Vec<NodeCounts> {
        self.nodes
            .iter()
            .map(|live| NodeCounts {
                node: live.node.clone(),
                events_in: live.events_in.load(Ordering::Relaxed),
                events_out: live.events_out.load(Ordering::Relaxed),
                bytes_in: live.bytes_in.load(Ordering::Relaxed),
                bytes_out: live.bytes_out.load(Ordering::Relaxed),
                errors: live.errors.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Records that failed, but for those that the dead letter sink could not take.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    pub(super) fn publish(&self, index: usize, counts: &Counts) {
        let live = &self.nodes[index];
        live.events_in.store(counts.events_in, Ordering::Relaxed);
        live.events_out.store(counts.events_out, Ordering::Relaxed);
        live.bytes_in.store(counts.bytes_in, Ordering::Relaxed);
        live.bytes_out.store(counts.bytes_out, Ordering::Relaxed);
        live.errors.store(counts.errors, Ordering::Relaxed);
    }

    pub(super) fn publish_dead_letters(&self, dead_letters: u64) {
        self.dead_letters.store(dead_letters, Ordering::Relaxed);
    }
}
