//! How long the list of jobs takes when there are many.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::fill;
use super::server::{Server, Target};

/// What came of it, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListBench {
    pub jobs: u32,
    /// Jobs a second that were accepted, of one task each, 64 requests at a time.
    pub submitted_per_second: f64,
    pub requests: u32,
    /// `?page=0&size=20`
    pub first_page_p50_ms: f64,
    pub first_page_p99_ms: f64,
    /// `?page=0&size=500`
    pub long_page_p50_ms: f64,
    pub long_page_p99_ms: f64,
    /// Pages of 20 from the first to the last, evenly spread.
    pub any_page_p50_ms: f64,
    pub any_page_p99_ms: f64,
}

/// Submits `jobs` jobs of one no-op task, waits until all have finished, and asks for the list again and again.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, jobs: u32, requests: u32) -> anyhow::Result<ListBench> {
    let server = Server::open(target).await?;
    let begun = Instant::now();
    let ids = fill::submit(&server, jobs, &fill::finishing(1)).await?;
    let submitted_per_second = f64::from(jobs) / begun.elapsed().as_secs_f64();
    for id in &ids {
        server.until(id, "COMPLETED").await?;
    }
    // What the last jobs left behind has come to rest.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pages = u64::from(jobs.div_ceil(20).max(1));
    let first = ask(&server, requests, |_| "page=0&size=20".to_owned()).await?;
    let long = ask(&server, requests, |_| "page=0&size=500".to_owned()).await?;
    let any = ask(&server, requests, |number| {
        format!("page={}&size=20", u64::from(number) * pages / u64::from(requests))
    })
    .await?;
    let figures = ListBench {
        jobs,
        submitted_per_second,
        requests,
        first_page_p50_ms: quantile(&first, 0.5),
        first_page_p99_ms: quantile(&first, 0.99),
        long_page_p50_ms: quantile(&long, 0.5),
        long_page_p99_ms: quantile(&long, 0.99),
        any_page_p50_ms: quantile(&any, 0.5),
        any_page_p99_ms: quantile(&any, 0.99),
    };
    server.stop().await?;
    Ok(figures)
}

async fn ask(server: &Server, requests: u32, query: impl Fn(u32) -> String) -> anyhow::Result<Vec<f64>> {
    let mut taken = Vec::new();
    for number in 0..requests {
        let begun = Instant::now();
        server.get(&format!("/api/v1/jobs?{}", query(number))).await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_unstable_by(f64::total_cmp);
    Ok(taken)
}

/// Of sorted values; 0 when there are none.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted
        .get((sorted.len() as f64 * part) as usize)
        .copied()
        .unwrap_or(0.0)
}
