//! How long a question for points of metrics takes when there are many.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::list::quantile;
use super::server::{Folder, Process, Server, Target};
use crate::config::ShardsOptions;
use crate::domain::{JobId, Timestamp};
use crate::embedded::{Embedded as Postgres, Options, Role};
use crate::log::{self, Log, migrate};
use crate::metrics::{Embedded, Keeping, MetricStore, MetricsOptions, Point, Tags};

/// How often each task is measured.
const EVERY: Duration = Duration::from_secs(60);
/// As long as the questions ask back.
const DAYS: u64 = 7;
const TASKS: u64 = 4;
/// Metrics with a value in each sample.
const NAMES: [&str; 9] = [
    "input_events",
    "output_events",
    "input_bytes",
    "output_bytes",
    "errors",
    "cpu_seconds",
    "rss_bytes",
    "log_lines",
    "log_bytes",
];
const BATCH: usize = 5_000;

/// What came of it, times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsBench {
    /// Single values, beside which are their rollups.
    pub raw_points: u64,
    pub jobs: u64,
    /// Single values a second that the store took, of one writer.
    pub written_per_second: f64,
    pub requests: u32,
    /// 7 days at 1 h of one job, one metric, its tasks joined.
    pub one_metric_p50_ms: f64,
    pub one_metric_p95_ms: f64,
    /// 7 days at 1 h of one job, as without any parameter, each task by itself.
    pub all_metrics_p50_ms: f64,
    pub all_metrics_p95_ms: f64,
    /// The last hour at 1 m of one job, of raw points.
    pub last_hour_p50_ms: f64,
    pub last_hour_p95_ms: f64,
}

/// Fills a data folder with points of jobs that have run for a week, starts standalone on it, and asks again and again,
/// each time for another job.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, points: u64, requests: u32) -> anyhow::Result<MetricsBench> {
    anyhow::ensure!(
        target.server.is_none() && target.kafka.is_none(),
        "this measures a standalone that it starts"
    );
    let folder = Folder::new()?;
    let samples = DAYS * 86_400 / EVERY.as_secs();
    let jobs = points.div_ceil(samples * TASKS * NAMES.len() as u64).max(1);
    let ids: Vec<String> = (0..jobs).map(|_| JobId(uuid::Uuid::now_v7()).to_string()).collect();
    let (raw_points, written_per_second) = fill(&folder, &ids, samples).await?;
    let process = Process::standalone(folder.path(), target)?;
    let server = Server::at(process.url.clone())?;
    server.ready().await?;
    let week = "from=-7d&interval=1h&limit=10000";
    let one = ask(
        &server,
        &ids,
        requests,
        &format!("{week}&metric=task_throughput&groupBy=job_id"),
    )
    .await?;
    let all = ask(&server, &ids, requests, week).await?;
    let hour = ask(&server, &ids, requests, "from=-1h&interval=1m&limit=10000").await?;
    drop(process);
    Ok(MetricsBench {
        raw_points,
        jobs,
        written_per_second,
        requests,
        one_metric_p50_ms: quantile(&one, 0.5),
        one_metric_p95_ms: quantile(&one, 0.95),
        all_metrics_p50_ms: quantile(&all, 0.5),
        all_metrics_p95_ms: quantile(&all, 0.95),
        last_hour_p50_ms: quantile(&hour, 0.5),
        last_hour_p95_ms: quantile(&hour, 0.95),
    })
}

/// Writes `samples` of each task of the jobs, the oldest first, the last one now; gives how many values, and how many a
/// second.
async fn fill(folder: &Folder, jobs: &[String], samples: u64) -> anyhow::Result<(u64, f64)> {
    let postgres = Postgres::start(Options::in_dir(folder.path())).await?;
    migrate(&postgres.url(Role::Owner), ShardsOptions::default().count).await?;
    let log = Log::connect(log::Options::new(postgres.url(Role::Service))).await?;
    let store = Embedded::new(log.pool().clone(), Keeping::of(&MetricsOptions::default()));
    let now = crate::clock::now();
    store.tidy(now).await?;
    let (mut batch, mut written) = (Vec::with_capacity(BATCH), 0);
    let begun = Instant::now();
    for sample in (0..samples).rev() {
        let at = now - EVERY * u32::try_from(sample)?;
        for job in jobs {
            batch.extend((1..=TASKS).map(|task| point(at, job, task)));
        }
        if batch.len() >= BATCH || sample == 0 {
            written += batch.iter().map(|point| point.values().len() as u64).sum::<u64>();
            anyhow::ensure!(store.write(&batch).await? == 0, "points were left out");
            batch.clear();
        }
    }
    let per_second = written as f64 / begun.elapsed().as_secs_f64();
    log.close().await;
    postgres.stop().await?;
    Ok((written, per_second))
}

fn point(at: Timestamp, job: &str, task: u64) -> Point {
    let tags = Tags::from([
        ("job_id", job.to_owned()),
        ("task_id", format!("{}-{task}", job.replacen("job-", "task-", 1))),
        ("worker_id", format!("worker-{task}")),
    ]);
    let mut point = Point::new(at, tags);
    for (place, name) in NAMES.iter().enumerate() {
        point = point.with(name, ((at.as_ms() / 60_000) % 997) as f64 + place as f64);
    }
    point
}

async fn ask(server: &Server, jobs: &[String], requests: u32, query: &str) -> anyhow::Result<Vec<f64>> {
    let mut taken = Vec::new();
    for job in jobs.iter().cycle().take(requests as usize) {
        let begun = Instant::now();
        let answer: Value = server.get(&format!("/api/v1/metrics?{query}&tag.job_id={job}")).await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        let points = answer["dataPoints"].as_array().context("no points")?;
        anyhow::ensure!(points.len() >= 50, "{} points of {job} by {query}", points.len());
    }
    taken.sort_unstable_by(f64::total_cmp);
    Ok(taken)
}
