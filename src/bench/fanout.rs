//! How quickly one large job is written out, and ended again.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::server::{Server, Target};

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FanoutBench {
    pub tasks: u32,
    /// Until the job was accepted.
    pub accepted_ms: f64,
    /// Until the read models have every task's `TaskReady`.
    pub ready_seconds: f64,
    pub ready_tasks_per_second: f64,
    /// The most that the processes have taken up to then, without Postgres; only of those started for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_peak_rss_bytes: Option<u64>,
    /// `/jobs/{jobId}/explain`, `/jobs/{jobId}?asOf=…` (or the refusal, because it is too large), and a page in the
    /// middle of its tasks; the longest of some.
    pub explain_ms: f64,
    pub as_of_ms: f64,
    pub middle_task_page_ms: f64,
    /// From asking for the job to be killed to the answer.
    pub kill_answer_ms: f64,
    /// Until the read models say that every task has ended.
    pub killed_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// Submits one job of `tasks` tasks that no worker can take, waits until all are READY, and kills it.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, tasks: u32) -> anyhow::Result<FanoutBench> {
    let server = Server::open(target).await?;
    let nobody = json!({"bench": "nobody has this label"});
    let document =
        json!({"tasks": [{"externalId": "noop", "replicas": tasks, "executor": "noop", "requires": nobody}]});
    let before = server.metric("grid_projection_events_total").await?;
    let begun = Instant::now();
    let job = server.submit(&document).await?;
    let accepted_ms = begun.elapsed().as_secs_f64() * 1e3;
    // A task counts as READY from the submission on; what is waited for is that each has its event in the read models.
    let written = before + f64::from(tasks) + 1.0;
    while server.metric("grid_projection_events_total").await? < written {
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(600),
            "the tasks are not written out"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ready_seconds = begun.elapsed().as_secs_f64();
    let ready_peak_rss_bytes = server.peak_rss_bytes();
    let now = crate::clock::now();
    let explain_ms = longest(&server, &format!("/api/v1/jobs/{job}/explain")).await?;
    let as_of_ms = longest(&server, &format!("/api/v1/jobs/{job}?asOf={now}")).await?;
    let page = tasks / 100;
    let middle_task_page_ms = longest(&server, &format!("/api/v1/jobs/{job}/tasks?page={page}&size=50")).await?;
    let begun = Instant::now();
    server.delete(&format!("/api/v1/jobs/kill/{job}")).await?;
    let kill_answer_ms = begun.elapsed().as_secs_f64() * 1e3;
    server.until(&job, "FAILED").await?;
    let figures = FanoutBench {
        tasks,
        accepted_ms,
        ready_seconds,
        ready_tasks_per_second: f64::from(tasks) / ready_seconds,
        ready_peak_rss_bytes,
        explain_ms,
        as_of_ms,
        middle_task_page_ms,
        kill_answer_ms,
        killed_seconds: begun.elapsed().as_secs_f64(),
        peak_rss_bytes: server.peak_rss_bytes(),
    };
    server.stop().await?;
    Ok(figures)
}

/// In milliseconds; also when it is refused.
async fn longest(server: &Server, path: &str) -> anyhow::Result<f64> {
    let mut longest = 0.0_f64;
    for _ in 0..10 {
        let begun = Instant::now();
        server.answer(path).await?;
        longest = longest.max(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(longest)
}
