//! `grid workers`: list them, cordon, uncordon and drain them.

use clap::{Args, Subcommand};

use super::context::ServerArgs;
use super::jobs::PageArgs;
use super::not_an_id;
use super::output::{Output, labels, table, time};
use super::view::{Page, Worker};
use crate::domain::WorkerName;

const EXAMPLES: &str = "Examples:
  grid workers
  grid workers cordon worker-a
  grid workers drain worker-a --output json
  grid workers uncordon worker-a";

/// `grid workers`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct WorkersArgs {
    #[command(subcommand)]
    command: Option<WorkersCommand>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum WorkersCommand {
    /// Give it no new work; what it runs goes on
    Cordon(WorkerArgs),
    /// Give it work again
    Uncordon(WorkerArgs),
    /// Give it no new work; it finishes what it runs, hands back what it has not begun, and leaves
    Drain(WorkerArgs),
}

#[derive(Args, Debug)]
struct WorkerArgs {
    /// The worker: worker-<name>, the prefix may be left out
    #[arg(value_name = "WORKER")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub async fn workers(args: &WorkersArgs, output: Output) -> anyhow::Result<()> {
    let (args, wish) = match &args.command {
        None => return list(args, output).await,
        Some(WorkersCommand::Cordon(args)) => (args, "cordon"),
        Some(WorkersCommand::Uncordon(args)) => (args, "uncordon"),
        Some(WorkersCommand::Drain(args)) => (args, "drain"),
    };
    let worker: WorkerName = args.id.parse().map_err(not_an_id)?;
    let path = format!("/api/v1/workers/{worker}/{wish}");
    let answer = args.server.client()?.post(&path, None).await?;
    output.print(&answer, |worker: Worker| shown([worker]))
}

async fn list(args: &WorkersArgs, output: Output) -> anyhow::Result<()> {
    let answer = args.server.client()?.get("/api/v1/workers", &args.page.query()).await?;
    output.print(&answer, |page: Page<Worker>| shown(page.items))
}

fn shown(workers: impl IntoIterator<Item = Worker>) -> String {
    table(
        &["WORKER", "STATE", "TASKS", "LAST HEARTBEAT", "REGISTERED", "LABELS"],
        workers.into_iter().map(row),
    )
}

fn row(worker: Worker) -> Vec<String> {
    let cordoned = if worker.cordoned { ", cordoned" } else { "" };
    let draining = if worker.draining { ", draining" } else { "" };
    vec![
        worker.worker_id,
        format!("{}{cordoned}{draining}", worker.state),
        format!("{}/{}", worker.current_tasks, worker.max_capacity),
        time(worker.last_heartbeat_at),
        time(worker.registered_at),
        labels(&worker.labels),
    ]
}
