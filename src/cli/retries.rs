//! `grid retries`: the tasks that wait for their retry, the next due first; bring one forward, or take it back.

use clap::{Args, Subcommand};

use super::context::ServerArgs;
use super::jobs::{PageArgs, more};
use super::not_an_id;
use super::output::{Output, table, time};
use super::tasks::task_table;
use super::view::{Page, Task};
use crate::domain::{JobId, TaskId};

const EXAMPLES: &str = "Examples:
  grid retries
  grid retries job-0198c2a0-7c00-7000-8000-000000000001 --size 100
  grid retries bring-forward task-0198c2a0-7c00-7000-8000-000000000001-2
  grid retries cancel task-0198c2a0-7c00-7000-8000-000000000001-2";

/// `grid retries`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct RetriesArgs {
    #[command(subcommand)]
    command: Option<RetriesCommand>,
    /// Only of this job: job-<uuid>, the prefix may be left out
    #[arg(value_name = "JOB")]
    job: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum RetriesCommand {
    /// Have a task's retry now
    #[command(visible_alias = "now")]
    BringForward(TaskArgs),
    /// Take the retry that a task waits for back: its failure is final
    Cancel(TaskArgs),
}

#[derive(Args, Debug)]
struct TaskArgs {
    /// The task: task-<job uuid>-<number>, the prefix may be left out
    #[arg(value_name = "TASK")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl TaskArgs {
    fn path(&self) -> anyhow::Result<String> {
        let task: TaskId = self.id.parse().map_err(not_an_id)?;
        Ok(format!("/api/v1/tasks/{task}/retry"))
    }
}

pub async fn retries(args: &RetriesArgs, output: Output) -> anyhow::Result<()> {
    let answer = match &args.command {
        None => return waiting(args, output).await,
        Some(RetriesCommand::BringForward(args)) => args.server.client()?.post(&args.path()?, &[], None).await?,
        Some(RetriesCommand::Cancel(args)) => args.server.client()?.delete(&args.path()?).await?,
    };
    output.print(&answer, |task: Task| task_table([task]))
}

async fn waiting(args: &RetriesArgs, output: Output) -> anyhow::Result<()> {
    let path = match &args.job {
        Some(job) => format!("/api/v1/jobs/{}/retries", job.parse::<JobId>().map_err(not_an_id)?),
        None => "/api/v1/retries".to_owned(),
    };
    let answer = args.server.client()?.get(&path, &args.page.query()).await?;
    output.print(&answer, |page: Page<Task>| {
        let more = more(&page);
        table(&HEADS, page.items.into_iter().map(row)) + &more
    })
}

const HEADS: [&str; 5] = ["TASK", "NAME", "DUE", "RETRY", "FAILURE"];

fn row(task: Task) -> Vec<String> {
    vec![
        task.task_id,
        task.external_id.unwrap_or_default(),
        time(task.next_retry_at),
        format!("{}/{}", task.retry_count, task.max_retries),
        task.failure.map(|failure| failure.summary()).unwrap_or_default(),
    ]
}
