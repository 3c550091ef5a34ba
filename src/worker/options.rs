//! Options of a worker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Secret;
use crate::options;

options! {
    /// Options of a worker.
    pub struct WorkerOptions {
        /// Its name, kept over restarts; a newer process of the same name takes over. Default: a new one each start.
        name: Option<String> = None,
        /// How many tasks run at a time.
        slots: u32 = 4,
        /// Most attempts that wait in the worker for a slot, besides those that run. It asks for about as many as it
        /// finished in the last 50 ms, so none when tasks are long.
        prefetch_max: u32 = 2_000,
        /// Labels that tasks may require: zone=a,disk=ssd.
        labels: BTreeMap<String, String> = BTreeMap::new(),
        /// Folder of a worker process; relative paths of pipelines are under it. Inside standalone its default is
        /// `files` in the data folder.
        data_dir: PathBuf = "grid-worker".into(),
        /// Folders that pipelines may also read and write, by absolute path.
        allow_paths: Vec<PathBuf> = Vec::new(),
        /// Folder with a file a secret, named by `{secret: NAME}` in a job.
        secrets_dir: Option<PathBuf> = None,
        /// URL of the API from which a worker process fetches documents; several, separated by commas, when the
        /// jobmasters do not share one: any that answers will do.
        api_url: Option<String> = None,
        /// Authorities (PEM) that a worker process trusts besides the machine's, when it calls the API by https.
        api_ca: Option<PathBuf> = None,
        /// Token that a worker process shows to the API: one of the role worker. Also, on a server: a secret that all
        /// workers may share instead.
        api_token: Option<Secret> = None,
        /// A folder of cgroups (version 2) that belongs to this worker: below it tasks get groups of their own, by which their
        /// limits hold. Default: the group in which the worker's process is, when nobody else is in it; else none.
        cgroup: Option<PathBuf> = None,
        /// How often a worker says that it lives.
        heartbeat_interval: Duration = Duration::from_secs(2),
        /// How often a worker tells every shard which attempts it holds.
        inventory_interval: Duration = Duration::from_secs(10),
        /// Silence of a jobmaster after which a worker takes back the credits that it has granted to it.
        inactive_after: Duration = Duration::from_secs(6),
        /// Silence after which a worker that is cut off has ended its own tasks. Less than `lost_after`.
        dead_after: Duration = Duration::from_secs(40),
        /// What the jobmasters have as `jobmaster.worker_lost_after`, for a worker process that cannot see their
        /// configuration: `dead_after` is compared with it, and refused when it is too long.
        lost_after: Duration = Duration::from_secs(45),
        /// How long a process has between SIGTERM and SIGKILL.
        grace: Duration = Duration::from_secs(10),
        /// How long running tasks may go on when the worker is told to end; then they fail as WORKER_LOST.
        drain_grace: Duration = Duration::from_secs(30),
        /// An attempt that waited so long for a slot is handed back.
        handback_after: Duration = Duration::from_secs(5),
        /// How often a running pipeline keeps how far it has come, so that a later attempt goes on from there.
        checkpoint_interval: Duration = Duration::from_secs(5),
        /// Whether lines of tasks go to the API, where they can be searched and followed. Without it, only the last lines of
        /// an attempt that failed are kept, with its failure.
        send_logs: bool = true,
        /// HOST:PORT of a Vector's source `logstash`, or of anything else that speaks Lumberjack: lines of tasks go there as
        /// well.
        vector: Option<String> = None,
        /// Authorities (PEM), of which one has signed the certificate of `vector`: with them, lines go there by TLS.
        vector_ca: Option<PathBuf> = None,
        /// Disk space, in the folder of the worker, for lines that wait while `vector` does not take them; 0: only memory.
        vector_spill_bytes: u64 = 1024 * 1024 * 1024,
        /// Lines a second that one attempt may go on to write to the log; what is more is dropped, and told.
        log_lines_per_second: u32 = 2_000,
        /// Bytes a second of these lines.
        log_bytes_per_second: u32 = 2 * 1024 * 1024,
        /// So many seconds' worth of lines may come at once.
        log_burst_seconds: u32 = 10,
        /// Memory for the last lines, of which who follows them is told at once, without the store.
        log_recent_bytes: u64 = 16_777_216,
        /// How long reports are gathered when one was sent just before; one after a pause goes at once.
        report_delay: Duration = Duration::from_millis(5),
        /// After how long an unacknowledged report is repeated first; doubled each time.
        report_retry_min: Duration = Duration::from_millis(200),
        /// The longest time between repeats.
        report_retry_max: Duration = Duration::from_secs(5),
    }
}

/// Options that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker.{key}: expected {expected}")]
pub struct InvalidWorkerOptions {
    pub key: &'static str,
    pub expected: String,
}

impl WorkerOptions {
    /// Every contradiction, with the key to change.
    pub fn problems(&self) -> Vec<InvalidWorkerOptions> {
        let mut problems = Vec::new();
        let mut must = |key, holds: bool, expected: String| {
            if !holds {
                problems.push(InvalidWorkerOptions { key, expected });
            }
        };
        let text = |duration| humantime::format_duration(duration).to_string();
        must("slots", (1..=10_000).contains(&self.slots), "1 to 10000".to_owned());
        must("prefetch_max", self.prefetch_max <= 10_000, "at most 10000".to_owned());
        must(
            "heartbeat_interval",
            !self.heartbeat_interval.is_zero(),
            "more than 0".to_owned(),
        );
        must(
            "inventory_interval",
            !self.inventory_interval.is_zero(),
            "more than 0".to_owned(),
        );
        must(
            "checkpoint_interval",
            !self.checkpoint_interval.is_zero(),
            "more than 0".to_owned(),
        );
        must(
            "report_retry_min",
            !self.report_retry_min.is_zero(),
            "more than 0".to_owned(),
        );
        must(
            "inactive_after",
            self.inactive_after > self.heartbeat_interval,
            format!(
                "more than worker.heartbeat_interval ({})",
                text(self.heartbeat_interval)
            ),
        );
        must(
            "vector_ca",
            self.vector_ca.is_none() || self.vector.is_some(),
            "worker.vector as well".to_owned(),
        );
        // The attempts of a worker that is cut off must be dead before anybody places them again.
        must(
            "dead_after",
            self.dead_after < self.lost_after,
            format!("less than worker.lost_after ({})", text(self.lost_after)),
        );
        // Else it would begin to end its attempts between two ordinary heartbeats.
        must(
            "grace",
            self.grace + 2 * self.heartbeat_interval < self.dead_after,
            format!(
                "with two of worker.heartbeat_interval less than worker.dead_after ({})",
                text(self.dead_after)
            ),
        );
        problems
    }
}
