//! `grid search`: jobs, tasks and workers by the beginning of an id, a name or a label.

use clap::Args;
use serde::Deserialize;

use super::context::ServerArgs;
use super::output::{Output, table};

const EXAMPLES: &str = "Examples:
  grid search nightly
  grid search team=ing
  grid search job-0198c2a0 --limit 5 --output json";

/// `grid search`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SearchArgs {
    /// How an id, an external id, a label's value or a label as name=value begins
    #[arg(value_name = "TEXT")]
    text: String,
    /// How many at most of jobs, of tasks and of workers, 1 to 100
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct Found {
    items: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    kind: String,
    id: String,
    field: String,
    value: String,
}

pub async fn search(args: &SearchArgs, output: Output) -> anyhow::Result<()> {
    let query = [("q", args.text.clone()), ("limit", args.limit.to_string())];
    let answer = args.server.client()?.get("/api/v1/search", &query).await?;
    output.print(&answer, |found: Found| {
        let row = |hit: Hit| vec![hit.kind, hit.id, hit.field, hit.value];
        table(&["KIND", "ID", "FOUND BY", "VALUE"], found.items.into_iter().map(row))
    })
}
