//! `grid jobs`, `job`, `kill`, `stop`, `retry`.

use clap::Args;

use super::bulk::{self, BulkArgs};
use super::filter::JobFilterArgs;
use super::output::{Output, duration, fields, labels, table, time};
use super::tasks::task_table;
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
    #[command(flatten)]
    filter: JobFilterArgs,
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
        query.extend(self.filter.query());
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

const STEER_HELP: &str = "With a filter instead of a job it is done to every job that fits, after asking; without \
--status, to those that run. Exit code 1: some jobs refused.

Examples:
  grid kill job-0198c2a0-7c00-7000-8000-000000000001
  grid stop --label team=ingest
  grid kill --external-id nightly --created-to 2026-01-31 --yes";

/// `grid kill`, `grid stop`
#[derive(Args, Debug)]
#[command(after_help = STEER_HELP)]
pub struct SteerArgs {
    /// The job: job-<uuid>, the prefix may be left out
    #[arg(
        value_name = "JOB",
        required_unless_present_any = JobFilterArgs::NAMES,
        conflicts_with_all = JobFilterArgs::NAMES
    )]
    id: Option<String>,
    #[command(flatten)]
    many: BulkArgs,
    #[command(flatten)]
    server: ServerArgs,
}

const RETRY_HELP: &str = "With a filter instead of a job it is done to every job that fits, after asking; without \
--status, to those that are FAILED, TIMEOUT or MIXED. Exit code 1: some jobs refused.

Examples:
  grid retry job-0198c2a0-7c00-7000-8000-000000000001
  grid retry task-0198c2a0-7c00-7000-8000-000000000001-2
  grid retry --label team=ingest --status FAILED --yes";

/// `grid retry`
#[derive(Args, Debug)]
#[command(after_help = RETRY_HELP)]
pub struct RetryArgs {
    /// A finished job, to run what failed of it again; or a task that waits for its retry, to have it now
    #[arg(
        value_name = "JOB|TASK",
        required_unless_present_any = JobFilterArgs::NAMES,
        conflicts_with_all = JobFilterArgs::NAMES
    )]
    id: Option<String>,
    /// Take the retry that a task waits for back: its failure is final
    #[arg(long, requires = "id")]
    cancel: bool,
    #[command(flatten)]
    many: BulkArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is asked of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Kill,
    Stop,
    Retry,
}

impl Wish {
    /// As the API calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Retry => "retry",
        }
    }

    /// Of the jobs that it is meant for.
    pub const fn statuses(self) -> &'static [JobStatus] {
        match self {
            Self::Kill | Self::Stop => &[JobStatus::Running],
            Self::Retry => &[JobStatus::Failed, JobStatus::Timeout, JobStatus::Mixed],
        }
    }
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
pub fn more<T>(page: &Page<T>) -> String {
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

pub async fn steer(args: &SteerArgs, wish: Wish, output: Output) -> anyhow::Result<()> {
    if !args.many.is_none()? {
        return bulk::run(&args.server.client()?, wish, &args.many, output).await;
    }
    let id: JobId = args.id.as_deref().unwrap_or_default().parse().map_err(not_an_id)?;
    let client = args.server.client()?;
    let answer = match wish {
        Wish::Kill => client.delete(&format!("/api/v1/jobs/kill/{id}")).await?,
        Wish::Stop | Wish::Retry => {
            client
                .post(&format!("/api/v1/jobs/{id}/{}", wish.name()), &[], None)
                .await?
        }
    };
    output.print(&answer, |job: Job| details(&job))
}

pub async fn retry(args: &RetryArgs, output: Output) -> anyhow::Result<()> {
    if !args.many.is_none()? {
        return bulk::run(&args.server.client()?, Wish::Retry, &args.many, output).await;
    }
    let id = args.id.as_deref().unwrap_or_default();
    let client = args.server.client()?;
    // A job's id is no task's, with or without its prefix.
    let Ok(task) = id.parse::<TaskId>() else {
        if args.cancel {
            return Err(Failure::Usage("--cancel is for a task: task-<job uuid>-<number>".to_owned()).into());
        }
        let job: JobId = id.parse().map_err(not_an_id)?;
        let answer = client.post(&format!("/api/v1/jobs/{job}/retry"), &[], None).await?;
        return output.print(&answer, |job: Job| details(&job));
    };
    let path = format!("/api/v1/tasks/{task}/retry");
    let answer = if args.cancel {
        client.delete(&path).await?
    } else {
        client.post(&path, &[], None).await?
    };
    output.print(&answer, |task: Task| task_table([task]))
}
