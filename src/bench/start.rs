//! How long a start on data takes, until the first job is accepted.

use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::Signal;
use serde::Serialize;

use super::fill;
use super::server::{Folder, Process, Server, Target};

/// What the data folder holds.
#[derive(Args, Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Jobs that have finished
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub finished_jobs: u32,
    /// Tasks of each of them
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub finished_tasks: u32,
    /// Jobs that have not
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub unfinished_jobs: u32,
    /// Tasks of each of them
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub unfinished_tasks: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartBench {
    #[serde(flatten)]
    pub data: Data,
    /// How the process before it ended: SIGTERM, Postgres included, or SIGKILL, after which Postgres is adopted.
    pub ended_by: &'static str,
    /// From starting the process to the first answer that a job is accepted.
    pub first_job_seconds: f64,
    pub peak_rss_bytes: Option<u64>,
}

/// Fills a data folder, and starts standalone on it after each kind of end.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, data: Data) -> anyhow::Result<Vec<StartBench>> {
    anyhow::ensure!(
        target.server.is_none() && target.kafka.is_none(),
        "this measures a standalone that it starts"
    );
    let folder = Folder::new()?;
    let (mut process, server, _) = start(&folder, target).await?;
    fill::submit(&server, data.unfinished_jobs, &fill::waiting(data.unfinished_tasks)).await?;
    let finished = fill::submit(&server, data.finished_jobs, &fill::finishing(data.finished_tasks)).await?;
    for job in &finished {
        server.until(job, "COMPLETED").await?;
    }
    let mut figures = Vec::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        process.end(signal);
        let (next, server, first_job_seconds) = start(&folder, target).await?;
        process = next;
        figures.push(StartBench {
            data,
            ended_by: signal.as_str(),
            first_job_seconds,
            peak_rss_bytes: process.peak_rss_bytes(),
        });
        drop(server);
    }
    drop(process);
    Ok(figures)
}

/// Starts it and submits until a job is accepted; gives how long that took.
async fn start(folder: &Folder, target: &Target) -> anyhow::Result<(Process, Server, f64)> {
    let begun = Instant::now();
    let process = Process::standalone(folder.path(), target)?;
    let server = Server::at(process.url.clone())?;
    loop {
        let job = fill::submit(&server, 1, &fill::finishing(1)).await;
        if job.is_ok() {
            return Ok((process, server, begun.elapsed().as_secs_f64()));
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(120),
            "no job is accepted: {job:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
