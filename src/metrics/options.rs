//! Options of the points of metrics.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Secret;
use crate::options;

options! {
    /// Options of the points of metrics.
    pub struct MetricsOptions {
        /// Whether anything is measured. Without it, only what is there already can be asked for.
        enabled: bool = true,
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
        /// A folder in which points wait while the store does not answer; default: one in the folder of standalone's or
        /// the worker's data. A jobmaster has none unless it is named here.
        spill_dir: Option<PathBuf> = None,
        /// Most bytes that wait there; what comes beyond that is dropped and counted.
        spill_bytes: u64 = 67_108_864,
        /// Days for which every point is kept.
        raw_days: u32 = 7,
        /// Days for which rollups of five minutes are kept.
        rollup_days: u32 = 90,
    }
}

options! {
    /// Options of an InfluxDB v2 that keeps the points instead of Postgres.
    pub struct InfluxOptions {
        /// Its URL; without it, Postgres keeps the points.
        url: Option<String> = None,
        /// The organization.
        org: String = "grid".into(),
        /// The bucket; it must be there.
        bucket: String = "grid-metrics".into(),
        /// A token that may read and write the bucket.
        token: Option<Secret> = None,
        /// The longest time that one call may take.
        timeout: Duration = Duration::from_secs(10),
    }
}
