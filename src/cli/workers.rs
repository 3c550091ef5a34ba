//! `grid workers`: list them, cordon, uncordon and drain them.

use clap::{Args, Subcommand};

use super::context::ServerArgs;
use super::filter::{parameters, upper};
use super::jobs::{PageArgs, more};
use super::not_an_id;
use super::output::{Output, labels, table, time};
use super::view::{Page, Worker};
use crate::domain::WorkerName;

const EXAMPLES: &str = "Examples:
  grid workers --state ACTIVE --label zone=a --sort workerId,asc
  grid workers cordon worker-a
  grid workers drain worker-a --output json
  grid workers uncordon worker-a";

/// `grid workers`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct WorkersArgs {
    #[command(subcommand)]
    command: Option<WorkersCommand>,
    /// Only workers in this state
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = ["ACTIVE", "INACTIVE", "PENDING"])]
    state: Vec<String>,
    /// Only workers with this label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Only workers first registered then or later (RFC 3339, or a day)
    #[arg(long, value_name = "TIME")]
    created_from: Option<String>,
    /// Only workers first registered before then (RFC 3339, or a day)
    #[arg(long, value_name = "TIME")]
    created_to: Option<String>,
    /// Order: createdAt or workerId, and asc or desc [default: createdAt,desc]
    #[arg(long, value_name = "FIELD[,asc|desc]")]
    sort: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl WorkersArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.page.query().to_vec();
        query.extend(parameters(
            [("state", upper(&self.state)), ("label", self.label.clone())],
            [
                ("createdFrom", self.created_from.as_ref()),
                ("createdTo", self.created_to.as_ref()),
                ("sort", self.sort.as_ref()),
            ],
        ));
        query
    }
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
    let answer = args.server.client()?.post(&path, &[], None).await?;
    output.print(&answer, |worker: Worker| shown([worker]))
}

async fn list(args: &WorkersArgs, output: Output) -> anyhow::Result<()> {
    let answer = args.server.client()?.get("/api/v1/workers", &args.query()).await?;
    output.print(&answer, |page: Page<Worker>| {
        let more = more(&page);
        shown(page.items) + &more
    })
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
