//! `grid dead-letters`: the records that a job's pipelines could not process; as a file, or replayed as a new job.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::context::ServerArgs;
use super::export::save;
use super::jobs::PageArgs;
use super::not_an_id;
use super::output::{Output, count, table};
use super::submit::Document;
use crate::domain::{JobId, TaskId};

const EXAMPLES: &str =
    "A replay is a new job, whose pipelines begin where the records failed. With --document it runs a mended
document, in which pipelines and nodes have the names that they had. It writes its files beside those of the first
run, with .replay-<number> in their names.

Examples:
  grid dead-letters job-0198c2a0-7c00-7000-8000-000000000001
  grid dead-letters job-0198c2a0-7c00-7000-8000-000000000001 --node strong --size 100
  grid dead-letters job-0198c2a0-7c00-7000-8000-000000000001 --export --file letters.ndjson
  grid dead-letters job-0198c2a0-7c00-7000-8000-000000000001 --replay --document mended.yaml";

/// `grid dead-letters`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DeadLettersArgs {
    /// The job: job-<uuid>, the prefix may be left out
    #[arg(value_name = "JOB")]
    job: String,
    /// Only of this task: task-<job uuid>-<number>, the prefix may be left out
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Only those that failed at the node of this id
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// All of them, a JSON object a line
    #[arg(long, conflicts_with = "replay")]
    export: bool,
    /// File to export into; - is stdout
    #[arg(long, value_name = "FILE", default_value = "-", requires = "export")]
    file: PathBuf,
    /// Submit a job that takes the records where they failed
    #[arg(long)]
    replay: bool,
    /// A mended job document for the replay, JSON or YAML
    #[arg(long, value_name = "FILE", requires = "replay")]
    document: Option<PathBuf>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Letters {
    items: Vec<Letter>,
    total: u64,
    failed: u64,
    kept: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Letter {
    task_id: String,
    attempt: u32,
    node: String,
    error: String,
    record: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replay {
    job_id: String,
    replayed: u64,
    left_out: u64,
}

pub async fn dead_letters(args: &DeadLettersArgs, output: Output) -> anyhow::Result<()> {
    let job: JobId = args.job.parse().map_err(not_an_id)?;
    let path = format!("/api/v1/jobs/{job}/dead-letters");
    let mut query = Vec::new();
    if let Some(task) = &args.task {
        query.push(("task", task.parse::<TaskId>().map_err(not_an_id)?.to_string()));
    }
    query.extend(args.node.clone().map(|node| ("node", node)));
    let client = args.server.client()?;
    if args.export {
        let transfer = client.download(&format!("{path}/export"), &query).await?;
        return save(transfer, &args.file, "ndjson", output).await;
    }
    if args.replay {
        let document = args.document.as_deref().map(Document::read).transpose()?;
        let body = document.map(|document| (document.media_type(), document.bytes));
        let answer = client.post(&format!("{path}/replay"), &query, body).await?;
        return output.print(&answer, |replay: Replay| {
            let left_out = match replay.left_out {
                0 => String::new(),
                left_out => format!(", {left_out} cannot be"),
            };
            format!(
                "{} replays {}{left_out}\n",
                replay.job_id,
                count(replay.replayed, "record")
            )
        });
    }
    query.extend(args.page.query());
    let answer = client.get(&path, &query).await?;
    output.print(&answer, |letters: Letters| {
        let told = format!(
            "{} of {}; {} failed, {} kept\n",
            letters.items.len(),
            letters.total,
            letters.failed,
            letters.kept
        );
        table(&HEADS, letters.items.into_iter().map(row)) + &told
    })
}

const HEADS: [&str; 5] = ["TASK", "ATTEMPT", "NODE", "ERROR", "RECORD"];
/// Of a record and an error, in a table.
const SHOWN_CHARS: usize = 80;

fn row(letter: Letter) -> Vec<String> {
    vec![
        letter.task_id,
        letter.attempt.to_string(),
        letter.node,
        beginning(&letter.error),
        beginning(&letter.record.to_string()),
    ]
}

fn beginning(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
