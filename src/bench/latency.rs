//! How long it takes, on an idle system, from sending a job to its task being RUNNING.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use super::server::{Server, Target};
use crate::clock;
use crate::domain::Timestamp;

/// What came of it, in milliseconds, to the millisecond.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyBench {
    pub jobs: u32,
    /// From before the request to the time of the task's `TaskStarted`, which the shard gives when the worker's report
    /// has come back to it: what the worker sees is earlier.
    pub running_p50_ms: i64,
    pub running_p99_ms: i64,
    /// From before the request to its answer.
    pub answer_p50_ms: i64,
    pub answer_p99_ms: i64,
}

/// Submits `jobs` jobs of one no-op task, one after the other.
///
/// # Errors
/// When the server fails, or a task does not complete.
pub async fn run(target: &Target, jobs: u32) -> anyhow::Result<LatencyBench> {
    let server = Server::open(target).await?;
    let document = json!({"tasks": [{"externalId": "noop", "executor": "noop"}]});
    let (mut running, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..jobs {
        let begun = clock::now();
        let id = server.submit(&document).await?;
        answers.push(clock::now().as_ms() - begun.as_ms());
        let started = started_at(&server, &id).await?;
        running.push(started.as_ms() - begun.as_ms());
        // Idle: what the last job left behind has come to rest.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.sort_unstable();
    answers.sort_unstable();
    let at = |sorted: &[i64], part: f64| sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(0);
    server.stop().await?;
    Ok(LatencyBench {
        jobs,
        running_p50_ms: at(&running, 0.5),
        running_p99_ms: at(&running, 0.99),
        answer_p50_ms: at(&answers, 0.5),
        answer_p99_ms: at(&answers, 0.99),
    })
}

async fn started_at(server: &Server, job: &str) -> anyhow::Result<Timestamp> {
    let number = job.strip_prefix("job-").context("no id of a job")?;
    loop {
        let task = server.get(&format!("/api/v1/tasks/task-{number}-1")).await?;
        if let Some(at) = task["startedAt"].as_str() {
            return Ok(at.parse()?);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
