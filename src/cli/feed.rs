//! `grid events --follow` and `--export`: the log as lines, page by page.
//!
//! Must stay true: whatever the log holds, one page is in memory; a line is written whole or not at all; who goes on after
//! the `after` of the last line misses nothing and gets nothing twice.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::events::Subject;
use super::output::{Output, count, printable, tell, understand};

const PAGE_EVENTS: &str = "1000";
/// How long the server holds a question for which there is nothing yet.
const WAIT_SECONDS: &str = "20";
/// How long a server may be away before following it ends.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(1);

/// Of what the events are shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Followed {
    job: Option<String>,
    /// Of a task only its own.
    task: Option<String>,
}

impl Followed {
    /// # Errors
    /// A worker: its events are among all others.
    pub fn new(subject: Option<Subject>) -> Result<Self, Failure> {
        match subject {
            None => Ok(Self::default()),
            Some(Subject::Job(job)) => Ok(Self {
                job: Some(job.to_string()),
                task: None,
            }),
            Some(Subject::Task(task)) => Ok(Self {
                job: Some(task.job.to_string()),
                task: Some(task.to_string()),
            }),
            Some(Subject::Worker(_) | Subject::Quarantine) => Err(Failure::Usage(
                "--follow and --export are of a job, a task, or everything; of a worker: grid events worker-<name>"
                    .to_owned(),
            )),
        }
    }

    fn wants(&self, event: &Value) -> bool {
        self.task.as_ref().is_none_or(|task| event["subject"] == task.as_str())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Value>,
    after: String,
    caught_up: bool,
}

async fn page(
    client: &Client,
    of: &Followed,
    after: Option<&str>,
    wait: &str,
) -> anyhow::Result<Result<Page, super::client::Error>> {
    let mut query = vec![("limit", PAGE_EVENTS.to_owned()), ("wait", wait.to_owned())];
    query.extend(of.job.clone().map(|job| ("jobId", job)));
    query.extend(
        after
            .filter(|after| *after != "start")
            .map(|after| ("after", after.to_owned())),
    );
    match client.get("/api/v1/events", &query).await {
        Ok(answer) => Ok(Ok(understand(&answer)?)),
        Err(error) => Ok(Err(error)),
    }
}

/// Prints events as they come, until interrupted.
pub async fn follow(client: &Client, of: &Followed, after: Option<&str>, output: Output) -> anyhow::Result<()> {
    let mut after = after.unwrap_or("end").to_owned();
    let mut heard = Instant::now();
    let mut away = false;
    loop {
        match page(client, of, Some(&after), WAIT_SECONDS).await? {
            Ok(page) => {
                heard = Instant::now();
                away = false;
                let mut stdout = std::io::stdout().lock();
                for event in page.items.iter().filter(|event| of.wants(event)) {
                    let line = match output {
                        Output::Json => event.to_string(),
                        Output::Human => line(event),
                    };
                    writeln!(stdout, "{line}")?;
                }
                stdout.flush()?;
                after = page.after;
            }
            Err(error) if error.may_pass() && heard.elapsed() < PATIENCE => {
                if !away {
                    tell(&format!(
                        "the server is away, following goes on when it is back: {error}"
                    ));
                }
                away = true;
                // The client has waited for a while; what brings the server back is no event here.
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let data = if event["data"].is_null() {
        String::new()
    } else {
        event["data"].to_string()
    };
    let shown = printable(&data);
    format!(
        "{}  {:<18} {}  {}  {shown}",
        text("at"),
        text("type"),
        text("subject"),
        text("principal")
    )
}

/// Writes events up to the end as lines of JSON.
pub async fn export(client: &Client, of: &Followed, after: Option<&str>, file: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    let named = || format!("{} cannot be written", file.display());
    let mut to: Box<dyn Write> = if file == Path::new("-") {
        Box::new(BufWriter::new(std::io::stdout()))
    } else {
        Box::new(BufWriter::new(File::create(file).with_context(named)?))
    };
    let mut after = after.map(str::to_owned);
    let mut written = 0_u64;
    loop {
        let page = page(client, of, after.as_deref(), "0").await??;
        for event in page.items.iter().filter(|event| of.wants(event)) {
            writeln!(to, "{event}").with_context(named)?;
            written += 1;
        }
        after = Some(page.after);
        if page.caught_up {
            break;
        }
    }
    to.flush().with_context(named)?;
    tell(&format!(
        "{} written; go on later with --after {}",
        count(written, "event"),
        after.unwrap_or_default()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_is_followed_within_its_job() {
        let subject = |text: &str| Followed::new(Some(Subject::read(text).unwrap()));
        let uuid = "0198c2a0-7c00-7000-8000-000000000001";
        let task = subject(&format!("{uuid}-3")).unwrap();
        assert_eq!(task.job, Some(format!("job-{uuid}")));
        assert!(task.wants(&json!({ "subject": format!("task-{uuid}-3") })));
        assert!(!task.wants(&json!({ "subject": format!("task-{uuid}-33") })));
        assert!(
            subject(&format!("job-{uuid}"))
                .unwrap()
                .wants(&json!({ "subject": "job-x" }))
        );
        assert!(subject("worker-a").is_err());
        assert_eq!(Followed::new(None).unwrap(), Followed::default());
    }
}
