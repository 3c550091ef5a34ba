//! The samples of a process: what it uses, what waits in it, how far behind it is, what it dropped and what of it was begun
//! anew. All but what the kernel tells is read from the metrics that Prometheus gets, so that both say the same.
//!
//! Must stay true: a process tells only of parts that run in it; what was counted before the first sample is in that one.

use std::path::PathBuf;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::metrics::{Pace, Point, Points, Tags};
use crate::projection::Watermarks;
use crate::telemetry::{Histogram, Reading, Telemetry, Usage};

/// Which process it is.
pub struct Whose {
    pub component: &'static str,
    pub process: String,
    /// Where it keeps its data.
    pub folder: PathBuf,
    /// Where points wait while the store is away, unless the options say otherwise.
    pub spill: Option<PathBuf>,
    pub telemetry: Telemetry,
}

/// A metric of points, and the one of Prometheus that is as high: the sum of its series.
const LEVELS: [(&str, &str); 10] = [
    ("metric_spill_bytes", "grid_metric_spill_bytes"),
    ("bus_queue_messages", "grid_bus_queue_messages"),
    ("journal_queue_batches", "grid_journal_waiting_batches"),
    ("projection_queue_events", "grid_projection_gathered_events"),
    ("publish_queue_bytes", "grid_publish_buffered_bytes"),
    ("log_queue_bytes", "grid_log_waiting_bytes"),
    ("commands_unanswered", "grid_api_commands_unanswered"),
    ("bus_lag_messages", "grid_bus_lag_messages"),
    ("publish_lag_events", "grid_publish_lag_events"),
    ("stopped_shards", "grid_shards_stopped"),
];

/// A metric of points that tells what was added to counters.
struct Risen {
    name: &'static str,
    /// Only a process with this metric has what is counted.
    part: &'static str,
    /// A counter, and the label of the series that count.
    of: &'static [(&'static str, &'static str)],
}

const fn risen(name: &'static str, part: &'static str, of: &'static [(&'static str, &'static str)]) -> Risen {
    Risen { name, part, of }
}

const ANY: &str = "grid_build_info";
const SHARDS: &str = "grid_shard_jobs";
const WORKER: &str = "grid_worker_slots";

const RISEN: [Risen; 9] = [
    risen(
        "dropped_lines",
        ANY,
        &[
            ("grid_task_lines_dropped_total", ""),
            ("grid_log_lines_dropped_total", ""),
        ],
    ),
    risen("lines_over_rate", WORKER, &[("grid_task_lines_over_rate_total", "")]),
    risen("panics", ANY, &[("grid_panics_total", "")]),
    risen("shard_restarts", SHARDS, &[("grid_shard_restarts_total", "")]),
    risen(
        "journal_restarts",
        SHARDS,
        &[("grid_actor_restarts_total", "actor=\"journal\"")],
    ),
    risen(
        "projector_restarts",
        SHARDS,
        &[("grid_actor_restarts_total", "actor=\"projector\"")],
    ),
    risen(
        "postgres_restarts",
        "grid_postgres_up",
        &[("grid_postgres_restarts_total", "")],
    ),
    risen("worker_restarts", WORKER, &[("grid_worker_incarnations_total", "")]),
    risen("guardian_restarts", WORKER, &[("grid_guardian_restarts_total", "")]),
];

const COMMITS: &str = "grid_journal_commit_seconds";

/// Measures this process.
pub(super) struct Process {
    points: Points,
    whose: Whose,
    /// How far read models are, where there are some.
    watermarks: Option<Watermarks>,
    before: Before,
}

/// How it was when it was measured last.
#[derive(Default)]
struct Before {
    used: Option<(Instant, Usage)>,
    dropped: u64,
    risen: [f64; RISEN.len()],
    commits: Histogram,
}

impl Process {
    pub(super) fn start(points: &Points, whose: Whose, pace: Pace, watermarks: Option<Watermarks>) -> JoinHandle<()> {
        let process = Self {
            points: points.clone(),
            whose,
            watermarks,
            before: Before::default(),
        };
        crate::task::spawn("metrics.process", process.run(pace))
    }

    async fn run(mut self, pace: Pace) {
        loop {
            self.measure();
            let (news, idle_at) = (self.points.news(), Instant::now() + pace.idle);
            loop {
                tokio::time::sleep(pace.every).await;
                // Half of one is near enough.
                if self.points.news() != news || Instant::now() + pace.every / 2 >= idle_at {
                    break;
                }
            }
        }
    }

    fn measure(&mut self) {
        let tags = Tags::from([
            ("component", self.whose.component.to_owned()),
            ("process", self.whose.process.clone()),
        ]);
        let point = self.resources(Point::new(crate::clock::now(), tags));
        let point = self.before.parts(point, &self.whose.telemetry.read());
        self.points.put_quietly(point);
    }

    fn resources(&mut self, mut point: Point) -> Point {
        let (now, used) = (Instant::now(), Usage::now());
        let dropped = self.points.dropped();
        point = point
            .with("uptime_seconds", self.whose.telemetry.uptime().as_secs_f64())
            .with("process_memory_bytes", used.resident_bytes)
            .with("metric_queue_depth", self.points.waiting() as f64)
            .with("dropped_points", dropped.saturating_sub(self.before.dropped) as f64);
        self.before.dropped = dropped;
        if let Some(watermarks) = &self.watermarks {
            point = point.with("projection_lag_events", watermarks.lag_events() as f64);
        }
        if let Some((then, before)) = self.before.used.replace((now, used)) {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            point = point.with("process_cpu_cores", (used.cpu_seconds - before.cpu_seconds) / seconds);
        }
        match nix::sys::statvfs::statvfs(&self.whose.folder) {
            Ok(disk) => {
                let free = disk.blocks_available() as f64 * disk.fragment_size() as f64;
                metrics::gauge!("grid_data_free_bytes").set(free);
                point = point.with("disk_free_bytes", free);
            }
            Err(error) => tracing::debug!(%error, "metrics.disk_not_measured"),
        }
        point
    }
}

impl Before {
    /// Adds what the parts of the process tell.
    fn parts(&mut self, mut point: Point, reading: &Reading) -> Point {
        for (name, of) in LEVELS {
            if let Some(level) = reading.sum(of, "") {
                point = point.with(name, level);
            }
        }
        for (Risen { name, part, of }, before) in RISEN.iter().zip(&mut self.risen) {
            if reading.sum(part, "").is_some() {
                let now = of
                    .iter()
                    .filter_map(|(counter, label)| reading.sum(counter, label))
                    .sum();
                point = point.with(name, now - std::mem::replace(before, now));
            }
        }
        let all = reading.histogram(COMMITS);
        let commits = all.since(&self.commits);
        self.commits = all;
        if let Some((mean, high)) = commits.mean().zip(commits.quantile(0.99)) {
            point = point
                .with("commits", commits.count)
                .with("commit_latency_seconds", mean)
                .with("commit_latency_p99_seconds", high);
        }
        point
    }
}
