//! Options of a jobmaster.

use std::path::PathBuf;
use std::time::Duration;

use crate::options;

options! {
    /// Options of the process that decides jobs.
    pub struct JobmasterOptions {
        /// Its name in the log, in metrics (`grid_node_info`), in /api/v1/info, and as Kafka's client.id in the consumer
        /// group. Default: made from host and process id.
        name: Option<String> = None,
        /// Threads that run shards. 0: one for each core.
        threads: u16 = 0,
        /// About how many events of a fan-out (a submission, kill, stop or retry of many tasks) go into one commit.
        chunk_events: u32 = 4_000,
        /// Staged events of a shard at which it takes no further message until a commit has made room.
        most_staged_events: u32 = 16_384,
        /// Commands of a shard that may wait for their job to be loaded.
        most_parked_commands: u32 = 1_000,
        /// Events of a shard after which its changed jobs are written as snapshots; also the most that a load replays,
        /// large jobs apart.
        snapshot_events: u32 = 20_000,
        /// How often it sends a heartbeat.
        heartbeat_interval: Duration = Duration::from_secs(2),
        /// Silence after which a worker gets no new work.
        worker_inactive_after: Duration = Duration::from_secs(6),
        /// Silence after which a worker's attempts are lost. Must be longer than worker.dead_after.
        worker_lost_after: Duration = Duration::from_secs(45),
        /// Authorities (PEM) that a jobmaster trusts besides the machine's, when it reads lines from the endpoints of workers
        /// by https.
        worker_ca: Option<PathBuf> = None,
    }
}
