//! The figures of a shard as metrics.

use super::machine::Observed;
use crate::domain::ShardId;

/// Looked up once: they are set after every turn.
pub(super) struct Gauges {
    staged_events: metrics::Gauge,
    jobs: metrics::Gauge,
}

impl Gauges {
    pub fn of(shard: ShardId) -> Self {
        let label = shard.0.to_string();
        Self {
            staged_events: metrics::gauge!("grid_shard_staged_events", "shard" => label.clone()),
            jobs: metrics::gauge!("grid_shard_jobs", "shard" => label),
        }
    }

    pub fn set(&self, observed: Observed) {
        self.staged_events.set(observed.staged_events as f64);
        self.jobs.set(observed.jobs as f64);
    }
}
