//! How many no-op tasks a second go through all their states.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::server::{Server, Target};

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TasksBench {
    pub jobs: u32,
    pub replicas: u32,
    pub tasks: u64,
    pub slots: u32,
    /// The most attempts that waited in the workers besides those that ran.
    pub prefetch: f64,
    /// Until every job was accepted.
    pub submit_seconds: f64,
    /// Until the read models say that every task has completed.
    pub seconds: f64,
    /// Until every event was acknowledged by Kafka as well; only over Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_seconds: Option<f64>,
    /// Everything done: the later of the two.
    pub tasks_per_second: f64,
    /// Four events a task: READY, SCHEDULED, RUNNING, COMPLETED.
    pub events_per_second: f64,
    /// The most that the processes have taken, without Postgres and Kafka; only of those started for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// Runs `jobs` jobs of `replicas` no-op tasks each, submitted one after the other.
///
/// # Errors
/// When the server fails, or a task does not complete.
pub async fn run(target: &Target, jobs: u32, replicas: u32) -> anyhow::Result<TasksBench> {
    let server = Server::open(target).await?;
    let document = json!({"tasks": [{"externalId": "noop", "replicas": replicas, "executor": "noop"}]});
    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(server.submit(&document).await?);
    }
    let submit_seconds = begun.elapsed().as_secs_f64();
    let mut prefetch = 0.0_f64;
    for id in &ids {
        prefetch = prefetch.max(server.metric("grid_worker_prefetch").await?);
        server.until(id, "COMPLETED").await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let tasks = u64::from(jobs) * u64::from(replicas);
    let published_seconds = match target.kafka {
        Some(_) => Some(published(&server, begun, 4 * tasks).await?),
        None => None,
    };
    let whole = published_seconds.map_or(seconds, |published| published.max(seconds));
    let figures = TasksBench {
        jobs,
        replicas,
        tasks,
        slots: target.slots,
        prefetch,
        submit_seconds,
        seconds,
        published_seconds,
        tasks_per_second: tasks as f64 / whole,
        events_per_second: 4.0 * tasks as f64 / whole,
        peak_rss_bytes: server.peak_rss_bytes(),
    };
    server.stop().await?;
    Ok(figures)
}

async fn published(server: &Server, begun: Instant, events: u64) -> anyhow::Result<f64> {
    while server.metric("grid_publish_events_total").await? < events as f64 {
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(600),
            "the events are not published"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed().as_secs_f64())
}
