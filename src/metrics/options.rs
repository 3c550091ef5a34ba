//! Options of the points of metrics.

use std::time::Duration;

use crate::options;

options! {
    /// Options of the points of metrics.
    pub struct MetricsOptions {
        /// How often running tasks, workers, jobs and processes are measured.
        sample_interval: Duration = Duration::from_secs(10),
        /// How often workers and processes are measured while no task runs and no job changes.
        idle_interval: Duration = Duration::from_secs(60),
        /// Most points that wait to be written; what comes beyond that is dropped and counted.
        queue_points: u32 = 50_000,
        /// Most points that are written at a time.
        batch_points: u32 = 5_000,
        /// How long points are gathered before they are written.
        flush_interval: Duration = Duration::from_millis(500),
        /// Days for which every point is kept.
        raw_days: u32 = 7,
        /// Days for which rollups of five minutes are kept.
        rollup_days: u32 = 90,
    }
}
