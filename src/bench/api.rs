//! How long reading takes when there is much to read, while tasks run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

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

/// What came of it, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiBench {
    pub jobs: u32,
    pub tasks: u64,
    pub requests: u32,
    /// That ran beside the reading.
    pub tasks_per_second_beside: f64,
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
    /// `/tasks?state=…`, of all jobs.
    pub tasks_by_state_p50_ms: f64,
    pub tasks_by_state_p99_ms: f64,
    /// By the beginning of a job's id, an external id, a label, a task's name, a worker.
    pub search_p50_ms: f64,
    pub search_p99_ms: f64,
    /// All jobs as NDJSON.
    pub export_seconds: f64,
}

/// One job in so many is killed, so that there are failures.
const KILLED_OF: u32 = 100;

/// Fills the server, lets tasks run, and asks for each kind again and again.
///
/// # Errors
/// When the server fails.
pub async fn run(target: &Target, load: Load) -> anyhow::Result<ApiBench> {
    let server = Arc::new(Server::open(target).await?);
    let ids = fill_server(&server, load).await?;
    let beside = Beside::start(Arc::clone(&server), load.tasks_per_second);
    let mut figures = ApiBench {
        jobs: load.jobs,
        tasks: u64::from(load.jobs) * u64::from(load.tasks_per_job),
        requests: load.requests,
        ..ApiBench::default()
    };
    measure(&server, load, &ids, &mut figures).await?;
    let begun = Instant::now();
    server.read("/api/v1/jobs/export?format=ndjson").await?;
    figures.export_seconds = begun.elapsed().as_secs_f64();
    figures.tasks_per_second_beside = beside.stop().await?;
    let server = Arc::into_inner(server).context("the server is still in use")?;
    server.stop().await?;
    Ok(figures)
}

async fn measure(server: &Server, load: Load, ids: &[String], figures: &mut ApiBench) -> anyhow::Result<()> {
    let id = |number: u32| &ids[number as usize * 7_919 % ids.len()];
    let ask = async |path: &dyn Fn(u32) -> String| -> anyhow::Result<(f64, f64)> {
        let mut taken = Vec::new();
        for number in 0..load.requests {
            let begun = Instant::now();
            server.get(&format!("/api/v1{}", path(number))).await?;
            taken.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        taken.sort_unstable_by(f64::total_cmp);
        Ok((quantile(&taken, 0.5), quantile(&taken, 0.99)))
    };
    let it = figures;
    (it.job_list_p50_ms, it.job_list_p99_ms) = ask(&|_| "/jobs?page=0&size=20".to_owned()).await?;
    (it.job_detail_p50_ms, it.job_detail_p99_ms) = ask(&|n| format!("/jobs/{}", id(n))).await?;
    (it.task_page_p50_ms, it.task_page_p99_ms) = ask(&|n| format!("/jobs/{}/tasks?page=0&size=50", id(n))).await?;
    let filtered = |n: u32| match n % 6 {
        0 => "/jobs?status=FAILED".to_owned(),
        1 => "/jobs?status=RUNNING&status=MIXED".to_owned(),
        2 => format!("/jobs?label=team:t{}", n / 6 % 5),
        3 => format!("/jobs?externalId=import-{}", n % 1_000),
        4 => format!("/jobs?label=team:t{}&status=FAILED", n / 6 % 5),
        _ => format!("/jobs?createdFrom=2026-01-01&label=run:{n}"),
    };
    (it.filtered_list_p50_ms, it.filtered_list_p99_ms) = ask(&filtered).await?;
    (it.page_5000_p50_ms, it.page_5000_p99_ms) = ask(&|_| "/jobs?page=5000&size=20".to_owned()).await?;
    let middle = load.jobs / 40;
    (it.middle_page_p50_ms, it.middle_page_p99_ms) = ask(&|_| format!("/jobs?page={middle}&size=20")).await?;
    let states = ["FAILED", "RUNNING", "READY", "COMPLETED", "SCHEDULED"];
    let by_state = |n: u32| format!("/tasks?state={}", states[n as usize % states.len()]);
    (it.tasks_by_state_p50_ms, it.tasks_by_state_p99_ms) = ask(&by_state).await?;
    let search = |n: u32| match n % 6 {
        0 => format!("/search?q={}", &id(n)[..(8 + n as usize % 20).min(id(n).len())]),
        1 => format!("/search?q=import-{}", n % 1_000),
        2 => format!("/search?q=team:t{}", n / 6 % 5),
        3 => "/search?q=noo".to_owned(),
        4 => format!("/search?q={}-1", id(n).replacen("job-", "task-", 1)),
        _ => "/search?q=worker-".to_owned(),
    };
    (it.search_p50_ms, it.search_p99_ms) = ask(&search).await?;
    Ok(())
}

/// Jobs with names and labels; all of them have ended at the end, some by being killed.
async fn fill_server(server: &Server, load: Load) -> anyhow::Result<Vec<String>> {
    let document = |number: u32| {
        let task = if number.is_multiple_of(KILLED_OF) {
            fill::waiting(load.tasks_per_job)
        } else {
            fill::finishing(load.tasks_per_job)
        };
        let labels = json!({"team": format!("t{}", number % 5), "run": number.to_string()});
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

/// No-op tasks that run at a steady rate.
struct Beside {
    stop: Arc<AtomicBool>,
    tasks: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    begun: Instant,
}

impl Beside {
    /// A job each tenth of a second.
    fn start(server: Arc<Server>, tasks_per_second: u32) -> Self {
        let (stop, tasks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let each = tasks_per_second / 10;
        let (stopped, submitted) = (Arc::clone(&stop), Arc::clone(&tasks));
        let task = crate::task::spawn("bench.beside", async move {
            let mut tenths = tokio::time::interval(Duration::from_millis(100));
            let document: Value = json!({"externalId": "beside", "tasks": [fill::finishing(each)]});
            let mut last = None;
            while !stopped.load(Ordering::Relaxed) {
                tenths.tick().await;
                if each > 0 {
                    last = Some(server.submit(&document).await?);
                    submitted.fetch_add(u64::from(each), Ordering::Relaxed);
                }
            }
            match last {
                Some(job) => server.until(&job, "COMPLETED").await,
                None => Ok(()),
            }
        });
        let begun = Instant::now();
        Self {
            stop,
            tasks,
            task,
            begun,
        }
    }

    /// Tells how many a second there were, when the last one has completed.
    async fn stop(self) -> anyhow::Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.tasks.load(Ordering::Relaxed) as f64 / self.begun.elapsed().as_secs_f64())
    }
}
