//! Lines of tasks: how soon those of a job or a task are found among many, and how many are taken in while tasks run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::beside::Beside;
use super::list::quantile;
use super::server::{Server, Target};
use crate::domain::{JobId, TaskId, Timestamp};
use crate::logs::Line;

/// How much of what.
#[derive(Args, Clone, Copy, Debug)]
pub struct Load {
    /// Lines that are there when it is searched, spread over 20 hours
    #[arg(long, default_value_t = 10_000_000)]
    pub lines: u32,
    /// Jobs that they are of, of ten tasks each
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,
    /// Requests of each kind, one after the other
    #[arg(long, default_value_t = 200)]
    pub requests: u32,
    /// Lines a second that tasks write then, all together
    #[arg(long, default_value_t = 10_000)]
    pub lines_per_second: u32,
    /// For so many seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u32,
    /// No-op tasks a second that run beside both
    #[arg(long, default_value_t = 500)]
    pub tasks_per_second: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsBench {
    pub lines: u32,
    /// While it was filled, by four clients, with nothing beside.
    pub filled_lines_per_second: f64,
    pub requests: u32,
    #[serde(flatten)]
    pub found: Found,
    #[serde(flatten)]
    pub taken: Taken,
    /// During both.
    pub tasks_per_second_beside: f64,
}

/// In milliseconds, from sending the request to the whole answer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The last 100 lines of a job.
    pub job_p50_ms: f64,
    pub job_p95_ms: f64,
    /// The last 100 lines of a task.
    pub task_p50_ms: f64,
    pub task_p95_ms: f64,
    /// All of them.
    pub whole_task_p50_ms: f64,
    pub whole_task_p95_ms: f64,
    /// The last 100 errors of a job: one line in a hundred.
    pub job_errors_p50_ms: f64,
    pub job_errors_p95_ms: f64,
    /// A word in the lines of a job that one line in a thousand has.
    pub job_word_p50_ms: f64,
    pub job_word_p95_ms: f64,
}

/// What tasks wrote meanwhile.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    pub written_lines: u64,
    /// From the begin of the first task until the last line was found.
    pub taken_lines_per_second: f64,
    /// From the end of the last task until the last line was found.
    pub last_line_after_ms: f64,
    pub dropped_lines: u64,
}

const TASKS: u32 = 10;
const BATCH_LINES: u32 = 2_000;
const SIDE_BY_SIDE: usize = 4;
const WRITERS: u32 = 8;
/// How long lines may take to arrive when nothing is written any more.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "worker.api_token=";

/// Fills the server, searches while tasks run, and lets tasks write.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, load: Load) -> anyhow::Result<LogsBench> {
    let mut target = target.clone();
    target.set.push("api.rate_per_second=0".to_owned());
    let given = target
        .set
        .iter()
        .find_map(|setting| setting.strip_prefix(TOKEN))
        .map(str::to_owned);
    let token = given.unwrap_or_else(|| {
        let token = Uuid::new_v4().to_string();
        target.set.push(format!("{TOKEN}{token}"));
        token
    });
    let server = Arc::new(Server::open(&target).await?);
    let jobs: Vec<JobId> = (0..load.jobs).map(|_| JobId(Uuid::now_v7())).collect();
    let begun = Instant::now();
    fill(&server.url, &token, &jobs, load.lines).await?;
    let filled_lines_per_second = f64::from(load.lines) / begun.elapsed().as_secs_f64();
    let beside = Beside::start(Arc::clone(&server), load.tasks_per_second);
    let found = search(&server, &jobs, load.requests).await?;
    let taken = write(&server, load).await?;
    let figures = LogsBench {
        lines: load.lines,
        filled_lines_per_second,
        requests: load.requests,
        found,
        taken,
        tasks_per_second_beside: beside.stop().await?,
    };
    let server = Arc::into_inner(server).context("the server is still in use")?;
    server.stop().await?;
    Ok(figures)
}

/// Line `number` of all, `count` of which end now.
fn line(number: u32, count: u32, jobs: &[JobId], end: Timestamp) -> Line {
    let job = jobs[number as usize % jobs.len()];
    let of_job = number / u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let task = TaskId {
        job,
        number: of_job % TASKS + 1,
    };
    let age_ms = u64::from(count - number) * 20 * 3_600_000 / u64::from(count.max(1));
    let level = match of_job % 100 {
        99 => "ERROR",
        90..=98 => "WARN",
        _ => "INFO",
    };
    let rare = if of_job.is_multiple_of(1_000) {
        " lighthouse"
    } else {
        ""
    };
    Line {
        at: end - Duration::from_millis(age_ms),
        message: format!(
            "order {number} of customer {} took {} ms{rare}",
            number % 9_973,
            number % 1_009
        ),
        level: level.to_owned(),
        logger_name: "orders".to_owned(),
        job_id: job.to_string(),
        task_id: task.to_string(),
        worker_id: format!("worker-{}", number % 16),
        attempt: Some(1),
        source: "task".to_owned(),
        service: "grid".to_owned(),
        stream: "stdout".to_owned(),
        position: 0,
        fields: BTreeMap::new(),
    }
}

async fn fill(url: &str, token: &str, jobs: &[JobId], count: u32) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let end = crate::clock::now();
    let batches = (0..count.div_ceil(BATCH_LINES)).map(|batch| {
        let client = client.clone();
        async move {
            let numbers = batch * BATCH_LINES..count.min((batch + 1) * BATCH_LINES);
            let mut body = Vec::new();
            for number in numbers {
                serde_json::to_writer(&mut body, &line(number, count, jobs, end))?;
                body.push(b'\n');
            }
            // Each batch as the first of a process of its own: they may overtake each other.
            let path = format!("{url}/api/v1/internal/logs/{}/1", Uuid::new_v4());
            let answer = client.post(path).bearer_auth(token).body(body).send().await?;
            let status = answer.status();
            anyhow::ensure!(
                status.is_success(),
                "lines are refused, {status}: {}",
                answer.text().await?
            );
            anyhow::Ok(())
        }
    });
    let batches = futures::stream::iter(batches).buffer_unordered(SIDE_BY_SIDE);
    batches.try_collect::<()>().await
}

async fn search(server: &Server, jobs: &[JobId], requests: u32) -> anyhow::Result<Found> {
    // Neither in the order of filling nor the same ones.
    let job = |number: u32| jobs[(number as usize * 7_919) % jobs.len()];
    let task = |number: u32| TaskId {
        job: job(number),
        number: number % TASKS + 1,
    };
    let (job_p50_ms, job_p95_ms) = ask(server, requests, |number| format!("job_id={}", job(number))).await?;
    let (task_p50_ms, task_p95_ms) = ask(server, requests, |number| format!("task_id={}", task(number))).await?;
    let whole = |number| format!("task_id={}&limit=10000", task(number));
    let (whole_task_p50_ms, whole_task_p95_ms) = ask(server, requests, whole).await?;
    let errors = |number| format!("job_id={}&level=error", job(number));
    let (job_errors_p50_ms, job_errors_p95_ms) = ask(server, requests, errors).await?;
    let word = |number| format!("job_id={}&query=lighthouse", job(number));
    let (job_word_p50_ms, job_word_p95_ms) = ask(server, requests, word).await?;
    Ok(Found {
        job_p50_ms,
        job_p95_ms,
        task_p50_ms,
        task_p95_ms,
        whole_task_p50_ms,
        whole_task_p95_ms,
        job_errors_p50_ms,
        job_errors_p95_ms,
        job_word_p50_ms,
        job_word_p95_ms,
    })
}

/// p50 and p95; each must find something.
async fn ask(server: &Server, requests: u32, query: impl Fn(u32) -> String) -> anyhow::Result<(f64, f64)> {
    let mut taken = Vec::new();
    for number in 0..requests {
        let path = format!("/api/v1/logs/search?{}", query(number));
        let begun = Instant::now();
        let answer = server.get(&path).await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        let found = answer["lines"].as_array().map_or(0, Vec::len);
        anyhow::ensure!(found > 0, "{path} finds nothing");
    }
    taken.sort_unstable_by(f64::total_cmp);
    Ok((quantile(&taken, 0.5), quantile(&taken, 0.95)))
}

/// Tasks write lines, a second's worth at a time.
async fn write(server: &Server, load: Load) -> anyhow::Result<Taken> {
    let each = load.lines_per_second / WRITERS;
    if each == 0 || load.seconds == 0 {
        return Ok(Taken::default());
    }
    // A little less than a second, since writing takes time too.
    let script = format!(
        "for s in $(seq {}); do seq {each} | sed \"s/^/second $s, order took ms: /\"; sleep 0.9; done",
        load.seconds
    );
    let document = json!({
        "externalId": "writers",
        "tasks": [{"externalId": "writer", "replicas": WRITERS, "command": ["sh", "-c", script]}],
    });
    let written_lines = u64::from(each) * u64::from(WRITERS) * u64::from(load.seconds);
    let taken_before = server.metric("grid_log_lines_taken_total").await?;
    let begun = Instant::now();
    let job = server.submit(&document).await?;
    server.until(&job, "COMPLETED").await?;
    let ended = Instant::now();
    let mut taken = 0.0;
    let mut dropped = 0.0;
    while taken + dropped < written_lines as f64 {
        anyhow::ensure!(
            ended.elapsed() < PATIENCE,
            "{taken} of {written_lines} lines have come, {dropped} were dropped"
        );
        taken = server.metric("grid_log_lines_taken_total").await? - taken_before;
        dropped = 0.0;
        for name in [
            "grid_log_lines_dropped_total",
            "grid_task_lines_over_rate_total",
            "grid_task_lines_dropped_total",
        ] {
            dropped += server.metric(name).await?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(Taken {
        written_lines,
        taken_lines_per_second: taken / begun.elapsed().as_secs_f64(),
        last_line_after_ms: ended.elapsed().as_secs_f64() * 1e3,
        dropped_lines: dropped as u64,
    })
}
