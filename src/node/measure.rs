//! What is measured in a process: where points go, and the samples of jobs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::vitals::{Process, Whose};
use crate::config::whole::Config;
use crate::domain::{JobId, Seq, ShardId, Timestamp};
use crate::log::Log;
use crate::metrics::{
    Embedded, Influx, Intake, Keeping, MetricStore, MetricsOptions, Pace, Point, Points, StoreError, Tags,
};
use crate::projection::{JobRow, Reading, Watermarks};

/// Jobs that are measured at a time.
const MOST_JOBS: u32 = 5_000;
/// How long what waits may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The running parts.
pub struct Measuring {
    pub store: Arc<dyn MetricStore>,
    pub keeping: Keeping,
    pub points: Points,
    /// `None`: nothing is measured.
    intake: Option<Intake>,
    tasks: Vec<JoinHandle<()>>,
}

/// The same in a process that has only a worker: it writes to InfluxDB itself; without one, nothing is measured there.
pub struct OfWorker(Option<(Intake, JoinHandle<()>)>);

impl OfWorker {
    /// # Errors
    /// When there is no way to InfluxDB.
    pub fn start(config: &Config, whose: Whose) -> Result<Self, StoreError> {
        let options = &config.metrics;
        if !options.enabled {
            return Ok(Self(None));
        }
        let Some(store) = Influx::new(&config.influxdb, Keeping::of(options))? else {
            return Ok(Self(None));
        };
        let intake = Intake::start(Arc::new(store), options, whose.spill.as_deref());
        let task = Process::start(&intake.points, whose, Pace::of(options), None);
        Ok(Self(Some((intake, task))))
    }

    pub fn points(&self) -> Points {
        let intake = self.0.as_ref();
        intake.map_or_else(Points::discard, |(intake, _)| intake.points.clone())
    }

    /// Ends it, and writes what waits.
    pub async fn stop(self) {
        let Some((intake, task)) = self.0 else { return };
        task.abort();
        // Aborted: it has no result.
        let _ = task.await;
        intake.stop(LAST_WORDS).await;
    }
}

impl Measuring {
    /// Starts it over InfluxDB when there is one, else over the log's database.
    ///
    /// # Errors
    /// When the database cannot be made ready for points.
    pub async fn start(
        (log, watermarks): (&Log, &Watermarks),
        config: &Config,
        whose: Whose,
    ) -> Result<Self, StoreError> {
        let options = &config.metrics;
        let keeping = Keeping::of(options);
        let mut tasks = Vec::new();
        let store: Arc<dyn MetricStore> = match Influx::new(&config.influxdb, keeping)? {
            Some(influx) => Arc::new(influx),
            None => {
                let embedded = Arc::new(Embedded::new(log.pool().clone(), keeping));
                embedded.tidy(crate::clock::now()).await?;
                let kept = Arc::clone(&embedded);
                tasks.push(crate::task::spawn(
                    "metrics.tidy",
                    async move { kept.keep_tidy().await },
                ));
                embedded
            }
        };
        let mut measuring = Self {
            store,
            keeping,
            points: Points::discard(),
            intake: None,
            tasks,
        };
        if options.enabled {
            measuring.begin((log, watermarks), options, whose);
        }
        Ok(measuring)
    }

    fn begin(&mut self, (log, watermarks): (&Log, &Watermarks), options: &MetricsOptions, whose: Whose) {
        let intake = Intake::start(Arc::clone(&self.store), options, whose.spill.as_deref());
        let points = intake.points.clone();
        let pace = Pace::of(options);
        let jobs = Jobs {
            reading: Reading::new(log.pool().clone()),
            watermarks: watermarks.clone(),
            points: points.clone(),
            since: crate::clock::now(),
            before: HashMap::new(),
            seen: BTreeMap::new(),
        };
        self.tasks
            .push(crate::task::spawn("metrics.jobs", jobs.run(options.sample_interval)));
        self.tasks
            .push(Process::start(&points, whose, pace, Some(watermarks.clone())));
        self.points = points;
        self.intake = Some(intake);
    }

    /// Ends it, and writes what waits.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            // Aborted: it has no result.
            let _ = task.await;
        }
        drop(self.points);
        if let Some(intake) = self.intake {
            intake.stop(LAST_WORDS).await;
        }
    }
}

/// How a job was when it was measured last.
#[derive(Clone, Copy)]
struct Before {
    at: Timestamp,
    completed: u32,
    finished_at: Option<Timestamp>,
}

/// Measures the jobs of this process' shards: those that are not finished, and once more those that are.
///
/// Must stay true: no job is measured by two processes, but for a moment when a shard goes from one to another; while no
/// job changes and none runs, the database is not asked.
struct Jobs {
    reading: Reading,
    watermarks: Watermarks,
    points: Points,
    since: Timestamp,
    before: HashMap<JobId, Before>,
    /// How far the read models were.
    seen: BTreeMap<ShardId, Seq>,
}

impl Jobs {
    async fn run(mut self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let own = self.watermarks.own();
            let none_runs = self.before.values().all(|job| job.finished_at.is_some());
            if own == self.seen && none_runs {
                continue;
            }
            let shards: Vec<ShardId> = own.keys().copied().collect();
            let now = crate::clock::now();
            match self.reading.jobs_to_measure(&shards, self.since, MOST_JOBS).await {
                Ok(jobs) => {
                    // What ends while it is read is found the next time too; the store keeps a point once.
                    self.since = now - every;
                    self.seen = own;
                    self.measure(&jobs, now);
                }
                Err(error) => tracing::warn!(%error, "metrics.jobs_not_measured"),
            }
        }
    }

    fn measure(&mut self, jobs: &[JobRow], now: Timestamp) {
        let mut measured = HashMap::with_capacity(jobs.len());
        for job in jobs {
            let counters = &job.counters;
            let before = self.before.get(&job.id).copied().unwrap_or(Before {
                at: job.created_at,
                completed: 0,
                finished_at: None,
            });
            if job.finished_at.is_some() && before.finished_at == job.finished_at {
                measured.insert(job.id, before);
                continue;
            }
            // Its row may have been behind when it was measured after its end.
            let at = job.finished_at.unwrap_or(now).max(before.at + Duration::from_millis(1));
            let this = Before {
                at,
                completed: counters.completed,
                finished_at: job.finished_at,
            };
            measured.insert(job.id, this);
            let seconds = at.since(before.at).as_secs_f64();
            let done = counters.completed.saturating_sub(before.completed);
            let point = Point::new(at, Tags::from([("job_id", job.id.to_string())]))
                .with("job_throughput", f64::from(done) / seconds)
                .with("tasks_ready", f64::from(counters.ready))
                .with("tasks_scheduled", f64::from(counters.scheduled))
                .with("tasks_running", f64::from(counters.running))
                .with("tasks_completed", f64::from(counters.completed))
                .with("tasks_failed", f64::from(counters.failed))
                .with("tasks_retrying", f64::from(counters.retries_pending))
                .with("processing_seconds", at.since(job.created_at).as_secs_f64());
            self.points.put(point);
        }
        self.before = measured;
    }
}
