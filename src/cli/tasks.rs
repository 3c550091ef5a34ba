//! `grid tasks`: the tasks of a job, or of all.

use clap::Args;

use super::context::ServerArgs;
use super::filter::{parameters, upper};
use super::jobs::{PageArgs, more};
use super::not_an_id;
use super::output::{Output, duration, table, time};
use super::view::{Page, Task};
use crate::domain::JobId;
use crate::domain::event::TaskState;

const EXAMPLES: &str =
    "A filter given several times lets through what fits one of its values; different filters must all fit.

Examples:
  grid tasks job-0198c2a0-7c00-7000-8000-000000000001 --state FAILED
  grid tasks --state RUNNING,SCHEDULED --worker worker-a
  grid tasks --external-id load --label team=ingest --sort createdAt,asc --output json";

/// `grid tasks`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TasksArgs {
    /// Whose tasks: job-<uuid>, the prefix may be left out; without it those of all jobs, the newest job first
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Only tasks in this state
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = TaskState::ALL.map(TaskState::name))]
    state: Vec<String>,
    /// Only tasks whose last attempt was given to this worker
    #[arg(long, value_name = "WORKER")]
    worker: Vec<String>,
    /// Only tasks of this name
    #[arg(long, value_name = "NAME")]
    external_id: Vec<String>,
    /// Only tasks of jobs with this label
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "job")]
    label: Vec<String>,
    /// Only tasks of jobs submitted then or later (RFC 3339, or a day)
    #[arg(long, value_name = "TIME", conflicts_with = "job")]
    created_from: Option<String>,
    /// Only tasks of jobs submitted before then (RFC 3339, or a day)
    #[arg(long, value_name = "TIME", conflicts_with = "job")]
    created_to: Option<String>,
    /// Order: createdAt, or number with a job, and asc or desc [default: number,asc with a job, else createdAt,desc]
    #[arg(long, value_name = "FIELD[,asc|desc]")]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl TasksArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.page.query().to_vec();
        query.extend(parameters(
            [
                ("state", upper(&self.state)),
                ("worker", self.worker.clone()),
                ("externalId", self.external_id.clone()),
                ("label", self.label.clone()),
            ],
            [
                ("createdFrom", self.created_from.as_ref()),
                ("createdTo", self.created_to.as_ref()),
                ("sort", self.sort.as_ref()),
            ],
        ));
        query
    }
}

pub async fn tasks(args: &TasksArgs, output: Output) -> anyhow::Result<()> {
    let path = match &args.job {
        Some(job) => format!("/api/v1/jobs/{}/tasks", job.parse::<JobId>().map_err(not_an_id)?),
        None => "/api/v1/tasks".to_owned(),
    };
    let answer = args.server.client()?.get(&path, &args.query()).await?;
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
        let again = task
            .next_retry_at
            .map(|at| format!(", again at {}", time(Some(at))))
            .unwrap_or_default();
        failure.summary() + &again
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
