//! `grid retries`: the tasks of a job that wait for their retry; bring one forward, or take it back.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::context::ServerArgs;
use super::jobs::task_table;
use super::not_an_id;
use super::output::{Output, understand};
use super::view::{Job, Page, Task};
use crate::domain::{JobId, TaskId};

const PAGE_TASKS: u32 = 500;

const EXAMPLES: &str = "Examples:
  grid retries job-0198c2a0-7c00-7000-8000-000000000001
  grid retries now task-0198c2a0-7c00-7000-8000-000000000001-2
  grid retries cancel task-0198c2a0-7c00-7000-8000-000000000001-2";

/// `grid retries`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub struct RetriesArgs {
    #[command(subcommand)]
    command: Option<RetriesCommand>,
    /// Whose tasks that wait for their retry are listed: job-<uuid>, the prefix may be left out
    #[arg(value_name = "JOB", required = true)]
    job: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum RetriesCommand {
    /// Have a task's retry now
    Now(TaskArgs),
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
        Some(RetriesCommand::Now(args)) => args.server.client()?.post(&args.path()?, None).await?,
        Some(RetriesCommand::Cancel(args)) => args.server.client()?.delete(&args.path()?).await?,
    };
    output.print(&answer, |task: Task| task_table([task]))
}

/// Goes through the job's tasks until all that wait are found.
async fn waiting(args: &RetriesArgs, output: Output) -> anyhow::Result<()> {
    let job: JobId = args.job.as_deref().unwrap_or_default().parse().map_err(not_an_id)?;
    let client = args.server.client()?;
    let pending = understand::<Job>(&client.get(&format!("/api/v1/jobs/{job}"), &[]).await?)?.retries_pending;
    let mut found: Vec<Value> = Vec::new();
    for page in 0u32.. {
        if found.len() as u64 >= pending {
            break;
        }
        let query = [("page", page.to_string()), ("size", PAGE_TASKS.to_string())];
        let answer = client.get(&format!("/api/v1/jobs/{job}/tasks"), &query).await?;
        let items = understand::<Page<Value>>(&answer)?.items;
        let last = items.len() < PAGE_TASKS as usize;
        found.extend(items.into_iter().filter(|task| !task["nextRetryAt"].is_null()));
        // Some may have gone on meanwhile.
        if last {
            break;
        }
    }
    let answer = json!({"total": found.len(), "items": found});
    output.print(&answer, |page: Page<Task>| task_table(page.items))
}
