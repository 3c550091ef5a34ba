//! `grid kill`, `stop` and `retry` of every job that fits a filter.
//!
//! Must stay true: nothing is done before somebody was told to how many jobs and agreed, in person or by --yes; every job
//! that was acted on is counted, and each refusal is named.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use super::client::Client;
use super::filter::JobFilterArgs;
use super::jobs::Wish;
use super::output::{Output, count, print, print_json, table, tell, understand};

const PATH: &str = "/api/v1/jobs/bulk";

/// Many jobs instead of one.
#[derive(Args, Clone, Debug)]
pub struct BulkArgs {
    #[command(flatten)]
    pub filter: JobFilterArgs,
    /// Do it to all jobs that fit without asking
    #[arg(long, short)]
    yes: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    matched: u64,
    items: Vec<Value>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    job_id: String,
    code: Option<String>,
    detail: Option<String>,
}

/// What came of all of it.
struct Outcome {
    succeeded: u64,
    refused: Vec<Value>,
}

impl BulkArgs {
    /// Neither a filter nor consent: for one job.
    ///
    /// # Errors
    /// Consent, but not to what.
    pub fn is_none(&self) -> Result<bool, Failure> {
        if self.filter.is_all() && self.yes {
            return Err(Failure::Usage("--yes goes with a filter, such as --label".to_owned()));
        }
        Ok(self.filter.is_all())
    }
}

/// Asks whether, and does it.
pub async fn run(client: &Client, wish: Wish, args: &BulkArgs, output: Output) -> anyhow::Result<()> {
    let mut filter = args.filter.clone();
    if filter.status.is_empty() {
        filter.status = wish.statuses().iter().map(|status| status.name().to_owned()).collect();
    }
    let body = json!({"action": wish.name(), "filter": filter.body()});
    let first = ask(client, &[("dryRun", "true".to_owned())], &body, &json!({"limit": 1})).await?;
    let verb = wish.name();
    if first.matched == 0 {
        return match output {
            Output::Json => print_json(&report(wish, &Outcome::none())),
            Output::Human => print(&format!(
                "nothing to {verb}: no {} job fits\n",
                filter.status.join(" or ")
            )),
        };
    }
    let how_many = count(first.matched, "job");
    if args.yes {
        tell(&format!("{verb} {how_many} …"));
    } else if !agreed(&format!("{verb} {how_many}?"))? {
        let what = format!("{how_many} fit, and nothing was done; --yes does it: {verb} {how_many}");
        return Err(Failure::Usage(what).into());
    }
    let outcome = all(client, &body).await?;
    let refused = outcome.refused.len() as u64;
    let told = match output {
        Output::Json => print_json(&report(wish, &outcome)),
        Output::Human => print(&shown(verb, &outcome)?),
    };
    if refused == 0 {
        return told;
    }
    // Refusals count more than a reader of stdout that is gone.
    Err(Failure::Told(1).into())
}

/// Page by page, until the filter lets nothing more through.
async fn all(client: &Client, body: &Value) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::none();
    let mut more = json!({});
    loop {
        let answer = ask(client, &[], body, &more).await?;
        for item in answer.items {
            if item["code"].is_null() {
                outcome.succeeded += 1;
            } else {
                outcome.refused.push(item);
            }
        }
        match answer.next_cursor {
            Some(cursor) => more = json!({"cursor": cursor}),
            None => return Ok(outcome),
        }
    }
}

async fn ask(client: &Client, query: &[(&str, String)], body: &Value, more: &Value) -> anyhow::Result<Answer> {
    let mut body = body.clone();
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    let body = ("application/json", body.to_string().into_bytes());
    understand(&client.post(PATH, query, Some(body)).await?)
}

/// Nobody at the keyboard agrees to nothing.
pub(super) fn agreed(question: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

impl Outcome {
    const fn none() -> Self {
        let refused = Vec::new();
        Self { succeeded: 0, refused }
    }
}

fn report(wish: Wish, outcome: &Outcome) -> Value {
    let failed = outcome.refused.len();
    json!({"action": wish.name(), "succeeded": outcome.succeeded, "failed": failed, "refused": outcome.refused})
}

fn shown(verb: &str, outcome: &Outcome) -> anyhow::Result<String> {
    let refused = outcome
        .refused
        .iter()
        .map(understand)
        .collect::<anyhow::Result<Vec<Refused>>>()?;
    let all = outcome.succeeded + refused.len() as u64;
    let text = format!("{verb}: accepted for {} of {}\n", outcome.succeeded, count(all, "job"));
    if refused.is_empty() {
        return Ok(text);
    }
    let row = |refused: Refused| {
        vec![
            refused.job_id,
            refused.code.unwrap_or_default(),
            refused.detail.unwrap_or_default(),
        ]
    };
    Ok(text + &table(&["JOB", "REFUSED", "BECAUSE"], refused.into_iter().map(row)))
}
