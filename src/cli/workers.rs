//! `grid workers`.

use clap::Args;

use super::ServerArgs;
use super::jobs::PageArgs;
use super::output::{Output, labels, table, time};
use super::view::{Page, Worker};

/// `grid workers`
#[derive(Args, Debug)]
pub struct WorkersArgs {
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub async fn list(args: &WorkersArgs, output: Output) -> anyhow::Result<()> {
    let answer = args.server.client()?.get("/api/v1/workers", &args.page.query()).await?;
    output.print(&answer, |page: Page<Worker>| {
        table(
            &["WORKER", "STATE", "TASKS", "LAST HEARTBEAT", "REGISTERED", "LABELS"],
            page.items.into_iter().map(row),
        )
    })
}

fn row(worker: Worker) -> Vec<String> {
    let draining = if worker.draining { ", draining" } else { "" };
    vec![
        worker.worker_id,
        format!("{}{draining}", worker.state),
        format!("{}/{}", worker.current_tasks, worker.max_capacity),
        time(worker.last_heartbeat_at),
        time(worker.registered_at),
        labels(&worker.labels),
    ]
}
