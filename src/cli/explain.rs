//! `grid explain`: why a job or a task does not run, and what would change it.

use clap::Args;
use serde::Deserialize;

use super::context::ServerArgs;
use super::not_an_id;
use super::output::{Output, fields, table};
use crate::domain::{JobId, TaskId};

const EXAMPLES: &str = "Examples:
  grid explain job-0198c2a0-7c00-7000-8000-000000000001
  grid explain task-0198c2a0-7c00-7000-8000-000000000001-2 --output json";

/// `grid explain`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// job-<uuid> or task-<job uuid>-<number>, the prefix may be left out
    #[arg(value_name = "JOB|TASK")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Of a task, or of a job with some of its tasks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    job_id: String,
    task_id: Option<String>,
    state: String,
    reason: String,
    sentence: String,
    remedy: Option<String>,
    #[serde(default)]
    tasks: Vec<Explanation>,
}

pub async fn explain(args: &ExplainArgs, output: Output) -> anyhow::Result<()> {
    let path = match args.id.parse::<TaskId>() {
        Ok(task) => format!("/api/v1/tasks/{task}/explain"),
        Err(_) => format!("/api/v1/jobs/{}/explain", args.id.parse::<JobId>().map_err(not_an_id)?),
    };
    let answer = args.server.client()?.get(&path, &[]).await?;
    output.print(&answer, |explanation: Explanation| shown(&explanation))
}

fn shown(explanation: &Explanation) -> String {
    let (what, id) = match &explanation.task_id {
        Some(task) => ("task", task),
        None => ("job", &explanation.job_id),
    };
    let mut text = fields(&[
        (what, id.clone()),
        ("state", explanation.state.clone()),
        ("reason", explanation.reason.clone()),
        ("because", explanation.sentence.clone()),
        ("to do", explanation.remedy.clone().unwrap_or_default()),
    ]);
    if !explanation.tasks.is_empty() {
        let row = |task: &Explanation| {
            let id = task.task_id.clone().unwrap_or_default();
            vec![id, task.state.clone(), task.reason.clone(), task.sentence.clone()]
        };
        text += "\n";
        text += &table(
            &["TASK", "STATE", "REASON", "BECAUSE"],
            explanation.tasks.iter().map(row),
        );
    }
    text
}
