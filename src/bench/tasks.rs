//! How many no-op tasks a second go through all their states, and how quickly a large job is written out.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::server::Server;

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TasksBench {
    pub jobs: u32,
    pub tasks: u64,
    pub slots: u32,
    /// Until every job was accepted.
    pub submit_seconds: f64,
    /// Until the read models say that every task has completed.
    pub seconds: f64,
    pub tasks_per_second: f64,
    /// Four events a task: READY, SCHEDULED, RUNNING, COMPLETED.
    pub events_per_second: f64,
    /// The most that the server's process has taken, without Postgres; only of a server started for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// Runs `jobs` jobs of `replicas` no-op tasks each.
///
/// # Errors
/// When the server fails, or a task does not complete.
pub async fn run(server: &Server, jobs: u32, replicas: u32, slots: u32) -> anyhow::Result<TasksBench> {
    let document = json!({"tasks": [{"externalId": "noop", "replicas": replicas, "executor": "noop"}]});
    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(server.submit(&document).await?);
    }
    let submit_seconds = begun.elapsed().as_secs_f64();
    for id in &ids {
        loop {
            let job = server.get(&format!("/api/v1/jobs/{id}")).await?;
            match job["status"].as_str() {
                Some("COMPLETED") => break,
                Some("RUNNING") => tokio::time::sleep(Duration::from_millis(20)).await,
                other => anyhow::bail!("{id} is {other:?}"),
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let tasks = u64::from(jobs) * u64::from(replicas);
    Ok(TasksBench {
        jobs,
        tasks,
        slots,
        submit_seconds,
        seconds,
        tasks_per_second: tasks as f64 / seconds,
        events_per_second: 4.0 * tasks as f64 / seconds,
        peak_rss_bytes: server.rss_bytes(),
    })
}
