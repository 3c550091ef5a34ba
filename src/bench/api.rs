//! How long reading takes when there is much to read, while tasks run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use super::beside::Beside;
use super::fill;
use super::list::quantile;
use super::server::{Server, Target};

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub jobs: u32,
    pub tasks_per_job: u32,
    /// Of each kind.
    pub requests: u32,
    /// Tasks a second that run beside the reading.
    pub tasks_per_second: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiBench {
    pub jobs: u32,
    pub tasks: u64,
    /// Until all jobs were there and had ended; 0 when the server had them already.
    pub fill_seconds: f64,
    pub requests: u32,
    /// That ran beside the reading.
    pub tasks_per_second_beside: f64,
    #[serde(flatten)]
    pub lists: Lists,
    #[serde(flatten)]
    pub exports: Exports,
}

/// In milliseconds, from sending the request to the whole answer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lists {
    /// `/jobs?page=0&size=20`
    pub job_list_p50_ms: f64,
    pub job_list_p99_ms: f64,
    /// `/jobs/{jobId}`
    pub job_detail_p50_ms: f64,
    pub job_detail_p99_ms: f64,
    /// `/jobs/{jobId}/tasks?page=0&size=50`
    pub task_page_p50_ms: f64,
    pub task_page_p99_ms: f64,
    /// By status, label, external id, time, and two of them at once.
    pub filtered_list_p50_ms: f64,
    pub filtered_list_p99_ms: f64,
    /// `/jobs?page=5000&size=20`, and the page in the middle, which is the furthest from both ends.
    pub page_5000_p50_ms: f64,
    pub page_5000_p99_ms: f64,
    pub middle_page_p50_ms: f64,
    pub middle_page_p99_ms: f64,
    /// `/jobs?label=…&status=COMPLETED`: a fifth of all jobs, which are counted; pages from the first to the last.
    pub label_and_status_p50_ms: f64,
    pub label_and_status_p99_ms: f64,
    /// `/tasks?page=…&size=50` of all jobs, from the first to the last.
    pub any_task_page_p50_ms: f64,
    pub any_task_page_p99_ms: f64,
    /// `/tasks?state=…`, of all jobs.
    pub tasks_by_state_p50_ms: f64,
    pub tasks_by_state_p99_ms: f64,
    /// `/tasks?label=…&state=…`
    pub tasks_by_label_and_state_p50_ms: f64,
    pub tasks_by_label_and_state_p99_ms: f64,
    /// `/tasks?externalId=…&state=FAILED`
    pub tasks_by_name_and_state_p50_ms: f64,
    pub tasks_by_name_and_state_p99_ms: f64,
    /// By the beginning of a job's id, an external id, a label, a task's name, a worker.
    pub search_p50_ms: f64,
    pub search_p99_ms: f64,
}

/// All jobs as a file.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exports {
    pub json_export_seconds: f64,
    pub ndjson_export_seconds: f64,
    pub csv_export_seconds: f64,
    /// What the processes took before the exports, and the most that they took during them, without Postgres; only of
    /// those started for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_export_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_peak_rss_bytes: Option<u64>,
}

/// One job in so many is killed, so that there are failures.
const KILLED_OF: u32 = 100;
const TEAMS: u32 = 5;

/// Fills the server, unless it has that many jobs, lets tasks run, and asks for each kind again and again.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, load: Load) -> anyhow::Result<ApiBench> {
    let mut target = target.clone();
    // One caller fills it, as fast as it can.
    target.set.push("api.rate_per_second=0".to_owned());
    let server = Arc::new(Server::open(&target).await?);
    let begun = Instant::now();
    let (ids, fill_seconds) = match present(&server, load.jobs).await? {
        Some(ids) => (ids, 0.0),
        None => (fill_server(&server, load).await?, begun.elapsed().as_secs_f64()),
    };
    let beside = Beside::start(Arc::clone(&server), load.tasks_per_second);
    let lists = measure(&server, load, &ids).await?;
    let exports = export(&server).await?;
    let figures = ApiBench {
        jobs: load.jobs,
        tasks: u64::from(load.jobs) * u64::from(load.tasks_per_job),
        fill_seconds,
        requests: load.requests,
        tasks_per_second_beside: beside.stop().await?,
        lists,
        exports,
    };
    let server = Arc::into_inner(server).context("the server is still in use")?;
    server.stop().await?;
    Ok(figures)
}

/// Asks for each path in turn; p50 and p99.
async fn ask(server: &Server, requests: u32, path: impl Fn(u32) -> String) -> anyhow::Result<(f64, f64)> {
    let mut taken = Vec::new();
    for number in 0..requests {
        let path = format!("/api/v1{}", path(number));
        let begun = Instant::now();
        server.get(&path).await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_unstable_by(f64::total_cmp);
    Ok((quantile(&taken, 0.5), quantile(&taken, 0.99)))
}

async fn measure(server: &Server, load: Load, ids: &[String]) -> anyhow::Result<Lists> {
    let id = |number: u32| &ids[number as usize * 7_919 % ids.len()];
    let requests = load.requests;
    let mut it = Lists::default();
    (it.job_list_p50_ms, it.job_list_p99_ms) = ask(server, requests, |_| "/jobs?page=0&size=20".to_owned()).await?;
    (it.job_detail_p50_ms, it.job_detail_p99_ms) = ask(server, requests, |n| format!("/jobs/{}", id(n))).await?;
    let tasks_of = |n: u32| format!("/jobs/{}/tasks?page=0&size=50", id(n));
    (it.task_page_p50_ms, it.task_page_p99_ms) = ask(server, requests, tasks_of).await?;
    (it.filtered_list_p50_ms, it.filtered_list_p99_ms) = ask(server, requests, filtered).await?;
    let page_5000 = |_| "/jobs?page=5000&size=20".to_owned();
    (it.page_5000_p50_ms, it.page_5000_p99_ms) = ask(server, requests, page_5000).await?;
    let middle = format!("/jobs?page={}&size=20", load.jobs / 40);
    (it.middle_page_p50_ms, it.middle_page_p99_ms) = ask(server, requests, |_| middle.clone()).await?;
    let pages = u64::from(load.jobs / TEAMS / 20).max(1);
    let label_and_status = |n: u32| {
        let page = u64::from(n) * pages / u64::from(requests);
        format!("/jobs?label=team:t{}&status=COMPLETED&page={page}&size=20", n % TEAMS)
    };
    (it.label_and_status_p50_ms, it.label_and_status_p99_ms) = ask(server, requests, label_and_status).await?;
    let pages = u64::from(load.jobs) * u64::from(load.tasks_per_job) / 50;
    let any_task_page = |n: u32| format!("/tasks?page={}&size=50", u64::from(n) * pages / u64::from(requests));
    (it.any_task_page_p50_ms, it.any_task_page_p99_ms) = ask(server, requests, any_task_page).await?;
    let states = ["FAILED", "RUNNING", "READY", "COMPLETED", "SCHEDULED"];
    let state = |n: u32| states[n as usize % states.len()];
    let by_state = |n: u32| format!("/tasks?state={}", state(n));
    (it.tasks_by_state_p50_ms, it.tasks_by_state_p99_ms) = ask(server, requests, by_state).await?;
    let labelled = |n: u32| format!("/tasks?label=team:t{}&state={}", n / 5 % TEAMS, state(n));
    (it.tasks_by_label_and_state_p50_ms, it.tasks_by_label_and_state_p99_ms) = ask(server, requests, labelled).await?;
    let named = |n: u32| format!("/tasks?externalId=noop-{}&state=FAILED", n % load.tasks_per_job.max(1));
    (it.tasks_by_name_and_state_p50_ms, it.tasks_by_name_and_state_p99_ms) = ask(server, requests, named).await?;
    (it.search_p50_ms, it.search_p99_ms) = ask(server, requests, |n| searched(n, id(n))).await?;
    Ok(it)
}

fn filtered(n: u32) -> String {
    match n % 6 {
        0 => "/jobs?status=FAILED".to_owned(),
        1 => "/jobs?status=RUNNING&status=MIXED".to_owned(),
        2 => format!("/jobs?label=team:t{}", n / 6 % TEAMS),
        3 => format!("/jobs?externalId=import-{}", n % 1_000),
        4 => format!("/jobs?label=team:t{}&status=FAILED", n / 6 % TEAMS),
        _ => format!("/jobs?createdFrom=2026-01-01&label=run:{n}"),
    }
}

fn searched(n: u32, id: &str) -> String {
    match n % 6 {
        0 => format!("/search?q={}", &id[..(8 + n as usize % 20).min(id.len())]),
        1 => format!("/search?q=import-{}", n % 1_000),
        2 => format!("/search?q=team:t{}", n / 6 % TEAMS),
        3 => "/search?q=noo".to_owned(),
        4 => format!("/search?q={}-1", id.replacen("job-", "task-", 1)),
        _ => "/search?q=worker-".to_owned(),
    }
}

async fn export(server: &Server) -> anyhow::Result<Exports> {
    let before_export_rss_bytes = server.reset_peak_rss();
    let one = async |format: &str| -> anyhow::Result<f64> {
        let begun = Instant::now();
        server.read(&format!("/api/v1/jobs/export?format={format}")).await?;
        Ok(begun.elapsed().as_secs_f64())
    };
    Ok(Exports {
        json_export_seconds: one("json").await?,
        ndjson_export_seconds: one("ndjson").await?,
        csv_export_seconds: one("csv").await?,
        before_export_rss_bytes,
        export_peak_rss_bytes: server.peak_rss_bytes(),
    })
}

/// The ids of the jobs that are there, if they are as many.
async fn present(server: &Server, jobs: u32) -> anyhow::Result<Option<Vec<String>>> {
    let mut path = "/api/v1/jobs?size=500".to_owned();
    let mut ids = Vec::new();
    loop {
        let list = server.get(&path).await?;
        if list["total"].as_u64() < Some(u64::from(jobs)) {
            return Ok(None);
        }
        let items = list["items"].as_array().context("no items")?;
        ids.extend(items.iter().filter_map(|job| job["jobId"].as_str()).map(str::to_owned));
        match list["nextCursor"].as_str() {
            Some(cursor) if ids.len() < jobs as usize => path = format!("/api/v1/jobs?size=500&cursor={cursor}"),
            Some(_) | None => return Ok(Some(ids)),
        }
    }
}

/// Jobs with names and labels; all of them have ended at the end, some by being killed.
async fn fill_server(server: &Server, load: Load) -> anyhow::Result<Vec<String>> {
    let document = |number: u32| {
        let task = if number.is_multiple_of(KILLED_OF) {
            fill::waiting(load.tasks_per_job)
        } else {
            fill::finishing(load.tasks_per_job)
        };
        let labels = json!({"team": format!("t{}", number % TEAMS), "run": number.to_string()});
        json!({"externalId": format!("import-{}", number % 1_000), "labels": labels, "tasks": [task]})
    };
    let ids = fill::submit_each(server, load.jobs, document).await?;
    let killed: Vec<&String> = ids.iter().step_by(KILLED_OF as usize).collect();
    for part in killed.chunks(500) {
        let answer = server
            .post("/api/v1/jobs/bulk", &json!({"action": "kill", "jobIds": part}))
            .await?;
        anyhow::ensure!(answer["failed"] == 0, "not all were killed: {}", answer["items"]);
    }
    let deadline = Instant::now() + Duration::from_secs(1_800);
    while server.get("/api/v1/jobs?status=RUNNING&size=1").await?["total"] != 0 {
        anyhow::ensure!(Instant::now() < deadline, "the jobs do not come to their end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(ids)
}
