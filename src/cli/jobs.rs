//! `grid jobs`, `job`, `tasks`, `kill`, `stop`, `retry`.

use clap::Args;

use super::client::Client;
use super::output::{Output, duration, fields, labels, table, time};
use super::view::{Job, Page, Task};
use super::{Failure, ServerArgs, not_an_id};
use crate::domain::{JobId, JobStatus, TaskId};

/// Which part of a list.
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// Which page, from 0; newest first
    #[arg(long, default_value_t = 0)]
    page: u32,
    /// How many on a page, 1 to 500
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    size: u32,
}

impl PageArgs {
    pub fn query(&self) -> [(&'static str, String); 2] {
        [("page", self.page.to_string()), ("size", self.size.to_string())]
    }
}

const JOBS_HELP: &str =
    "A filter given several times lets through what fits one of its values; different filters must all fit.

Examples:
  grid jobs --status RUNNING
  grid jobs --status FAILED,MIXED --label team=ingest --sort finishedAt,desc
  grid jobs --external-id nightly --created-from 2026-01-31T00:00:00Z --output json";

/// `grid jobs`
#[derive(Args, Debug)]
#[command(after_help = JOBS_HELP)]
pub struct JobsArgs {
    /// Only jobs of this status
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = JobStatus::ALL.map(JobStatus::name))]
    status: Vec<String>,
    /// Only jobs with this label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Only jobs of this name
    #[arg(long, value_name = "NAME")]
    external_id: Vec<String>,
    /// Only jobs submitted then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    created_from: Option<String>,
    /// Only jobs submitted before then (RFC 3339)
    #[arg(long, value_name = "TIME")]
    created_to: Option<String>,
    /// Order: createdAt, finishedAt or externalId, and asc or desc [default: createdAt,desc]
    #[arg(long, value_name = "FIELD[,asc|desc]")]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl JobsArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.page.query().to_vec();
        query.extend(self.status.iter().map(|status| ("status", status.to_uppercase())));
        query.extend(self.label.iter().map(|label| ("label", label.clone())));
        query.extend(self.external_id.iter().map(|name| ("externalId", name.clone())));
        query.extend(self.created_from.clone().map(|time| ("createdFrom", time)));
        query.extend(self.created_to.clone().map(|time| ("createdTo", time)));
        query.extend(self.sort.clone().map(|sort| ("sort", sort)));
        query
    }
}

/// Commands on one job.
#[derive(Args, Debug)]
pub struct JobArgs {
    /// The job: job-<uuid>, the prefix may be left out
    #[arg(value_name = "JOB")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl JobArgs {
    fn id(&self) -> Result<JobId, Failure> {
        self.id.parse().map_err(not_an_id)
    }
}

/// `grid tasks`
#[derive(Args, Debug)]
pub struct TasksArgs {
    /// The job: job-<uuid>, the prefix may be left out
    #[arg(value_name = "JOB")]
    id: String,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// `grid retry`
#[derive(Args, Debug)]
pub struct RetryArgs {
    /// A finished job, to run what failed of it again; or a task that waits for its retry, to have it now
    #[arg(value_name = "JOB|TASK")]
    id: String,
    /// Take the retry that a task waits for back: its failure is final
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Kill,
    Stop,
}

pub async fn list(args: &JobsArgs, output: Output) -> anyhow::Result<()> {
    let answer = args.server.client()?.get("/api/v1/jobs", &args.query()).await?;
    output.print(&answer, |page: Page<Job>| {
        let more = more(&page);
        table(&JOB_HEADS, page.items.into_iter().map(row)) + &more
    })
}

const JOB_HEADS: [&str; 10] = [
    "JOB",
    "NAME",
    "STATUS",
    "READY",
    "SCHEDULED",
    "RUNNING",
    "COMPLETED",
    "FAILED",
    "RETRYING",
    "CREATED",
];

fn row(job: Job) -> Vec<String> {
    let counters = job.task_counters;
    let counts = [
        counters.ready,
        counters.scheduled,
        counters.running,
        counters.completed,
        counters.failed,
    ];
    let mut row = vec![job.job_id, job.external_id.unwrap_or_default(), job.status];
    row.extend(counts.iter().map(u64::to_string));
    row.extend([job.retries_pending.to_string(), time(Some(job.created_at))]);
    row
}

/// A last line that says how much there is besides.
fn more<T>(page: &Page<T>) -> String {
    let shown = page.items.len();
    match page.total {
        Some(total) if total > shown as u64 => format!("({shown} of {total}, page {})\n", page.page),
        Some(_) | None => String::new(),
    }
}

pub async fn show(args: &JobArgs, output: Output) -> anyhow::Result<()> {
    let answer = args
        .server
        .client()?
        .get(&format!("/api/v1/jobs/{}", args.id()?), &[])
        .await?;
    output.print(&answer, |job: Job| details(&job))
}

/// One job for people.
pub fn details(job: &Job) -> String {
    let counters = job.task_counters;
    let failures: Vec<String> = job
        .failure_summary
        .iter()
        .map(|(reason, n)| format!("{n} {reason}"))
        .collect();
    let took = job.finished_at.map(|finished| duration(finished.since(job.created_at)));
    fields(&[
        ("job", job.job_id.clone()),
        ("name", job.external_id.clone().unwrap_or_default()),
        ("labels", labels(&job.labels)),
        ("status", job.status.clone()),
        ("created", time(Some(job.created_at))),
        ("finished", time(job.finished_at)),
        ("took", took.unwrap_or_default()),
        ("tasks", counters.total().to_string()),
        (
            "of these",
            format!(
                "{} ready, {} scheduled, {} running, {} completed, {} failed",
                counters.ready, counters.scheduled, counters.running, counters.completed, counters.failed
            ),
        ),
        (
            "retrying",
            if job.retries_pending > 0 {
                job.retries_pending.to_string()
            } else {
                String::new()
            },
        ),
        ("failures", failures.join(", ")),
    ])
}

pub async fn tasks(args: &TasksArgs, output: Output) -> anyhow::Result<()> {
    let job: JobId = args.id.parse().map_err(not_an_id)?;
    let answer = args
        .server
        .client()?
        .get(&format!("/api/v1/jobs/{job}/tasks"), &args.page.query())
        .await?;
    output.print(&answer, |page: Page<Task>| {
        let more = more(&page);
        task_table(page.items) + &more
    })
}

/// Tasks for people.
pub fn task_table(tasks: impl IntoIterator<Item = Task>) -> String {
    table(&TASK_HEADS, tasks.into_iter().map(task_row))
}

const TASK_HEADS: [&str; 8] = [
    "TASK", "NAME", "STATE", "ATTEMPT", "RETRIES", "WORKER", "TOOK", "FAILURE",
];

fn task_row(task: Task) -> Vec<String> {
    let took = task
        .started_at
        .zip(task.finished_at)
        .map(|(from, to)| duration(to.since(from)));
    let failure = task.failure.map(|failure| {
        let message = failure.message.lines().next().unwrap_or_default().to_owned();
        let again = task
            .next_retry_at
            .map(|at| format!(", again at {}", time(Some(at))))
            .unwrap_or_default();
        format!("{}: {message}{again}", failure.reason)
    });
    vec![
        task.task_id,
        task.external_id.unwrap_or_default(),
        task.state,
        task.attempt.to_string(),
        format!("{}/{}", task.retry_count, task.max_retries),
        task.worker_id.unwrap_or_default(),
        took.unwrap_or_default(),
        failure.unwrap_or_default(),
    ]
}

pub async fn ask(args: &JobArgs, wish: Wish, output: Output) -> anyhow::Result<()> {
    let id = args.id()?;
    let client: Client = args.server.client()?;
    let answer = match wish {
        Wish::Kill => client.delete(&format!("/api/v1/jobs/kill/{id}")).await?,
        Wish::Stop => client.post(&format!("/api/v1/jobs/{id}/stop"), None).await?,
    };
    output.print(&answer, |job: Job| details(&job))
}

pub async fn retry(args: &RetryArgs, output: Output) -> anyhow::Result<()> {
    let client = args.server.client()?;
    // A job's id is no task's, with or without its prefix.
    let Ok(task) = args.id.parse::<TaskId>() else {
        if args.cancel {
            return Err(Failure::Usage("--cancel is for a task: task-<job uuid>-<number>".to_owned()).into());
        }
        let job: JobId = args.id.parse().map_err(not_an_id)?;
        let answer = client.post(&format!("/api/v1/jobs/{job}/retry"), None).await?;
        return output.print(&answer, |job: Job| details(&job));
    };
    let path = format!("/api/v1/tasks/{task}/retry");
    let answer = if args.cancel {
        client.delete(&path).await?
    } else {
        client.post(&path, None).await?
    };
    output.print(&answer, |task: Task| task_table([task]))
}
