//! `grid explain`: why a job or a task does not run, and what would change it.

use std::fmt::Write;

use clap::Args;
use serde::Deserialize;

use super::context::ServerArgs;
use super::not_an_id;
use super::output::{Output, fields, printable, table};
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
    details: Details,
    #[serde(default)]
    tasks: Vec<Explanation>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    last_log_lines: Vec<String>,
}

impl Explanation {
    /// What to do, with commands in the place of calls.
    fn to_do(&self) -> String {
        let task = self.task_id.as_deref().unwrap_or("TASK");
        let calls = [
            ("POST /api/v1/jobs/{jobId}/retry", format!("grid retry {}", self.job_id)),
            ("DELETE /api/v1/jobs/kill/{jobId}", format!("grid kill {}", self.job_id)),
            ("POST /api/v1/tasks/{taskId}/retry", format!("grid retry {task}")),
            ("DELETE of the same", "the same with --cancel".to_owned()),
            (
                "POST /api/v1/workers/{workerId}/uncordon",
                "grid workers uncordon WORKER".to_owned(),
            ),
        ];
        let remedy = self.remedy.clone().unwrap_or_default();
        calls
            .iter()
            .fold(remedy, |text, (call, command)| text.replace(call, command))
    }
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
        ("to do", explanation.to_do()),
    ]);
    if !explanation.details.last_log_lines.is_empty() {
        text += "wrote last:\n";
        for line in &explanation.details.last_log_lines {
            let _ = writeln!(text, "    | {}", printable(line).replace('\n', "\n      "));
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_to_do_is_a_command_and_the_last_words_are_shown() {
        let explanation = json!({
            "jobId": "job-1", "taskId": "task-1-2", "state": "FAILED", "reason": "RETRY_WAIT", "sentence": "It waits.",
            "remedy": "POST /api/v1/tasks/{taskId}/retry makes it due now; DELETE of the same takes it back.",
            "details": {"attempt": 2, "lastLogLines": ["out", "err\u{1b}[31m"]},
        });
        let text = shown(&serde_json::from_value(explanation).unwrap());
        assert_eq!(
            text,
            "task:    task-1-2\nstate:   FAILED\nreason:  RETRY_WAIT\nbecause: It waits.\n\
             to do:   grid retry task-1-2 makes it due now; the same with --cancel takes it back.\n\
             wrote last:\n    | out\n    | err\u{fffd}[31m\n"
        );
    }
}
