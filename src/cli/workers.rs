//! `grid workers` and `grid events`.

use clap::Args;
use serde_json::Value;

use super::jobs::PageArgs;
use super::output::{Output, labels, table, time};
use super::view::{Event, Page, Worker};
use super::{Failure, ServerArgs, not_an_id};
use crate::domain::{JobId, TaskId, WorkerName};

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

/// `grid events`
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Whose history: job-<uuid>, task-<job uuid>-<number> or worker-<name>
    #[arg(
        value_name = "JOB|TASK|WORKER",
        required_unless_present = "quarantine",
        conflicts_with = "quarantine"
    )]
    of: Option<String>,
    /// What could not be read or decided and was set aside
    #[arg(long)]
    quarantine: bool,
    /// Begin with the oldest
    #[arg(long, conflicts_with = "quarantine")]
    oldest_first: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Whose events.
#[derive(Debug, PartialEq)]
enum Subject {
    Quarantine,
    Job(JobId),
    Task(TaskId),
    Worker(WorkerName),
}

impl Subject {
    /// With a prefix it is what that says; without, the form tells.
    fn read(text: &str) -> Result<Self, Failure> {
        if text.starts_with("job-") {
            return text.parse().map(Self::Job).map_err(not_an_id);
        }
        if text.starts_with("task-") {
            return text.parse().map(Self::Task).map_err(not_an_id);
        }
        if text.starts_with("worker-") {
            return text.parse().map(Self::Worker).map_err(not_an_id);
        }
        let job = text.parse().map(Self::Job);
        let job_or_task = job.or_else(|_| text.parse().map(Self::Task));
        job_or_task
            .or_else(|_| text.parse().map(Self::Worker))
            .map_err(not_an_id)
    }

    fn path(&self) -> String {
        match self {
            Self::Quarantine => "/api/v1/quarantine".to_owned(),
            Self::Job(job) => format!("/api/v1/jobs/{job}/events"),
            Self::Task(task) => format!("/api/v1/tasks/{task}/events"),
            Self::Worker(worker) => format!("/api/v1/workers/{worker}/events"),
        }
    }
}

pub async fn events(args: &EventsArgs, output: Output) -> anyhow::Result<()> {
    let subject = match &args.of {
        Some(text) => Subject::read(text)?,
        None => Subject::Quarantine,
    };
    let mut query = args.page.query().to_vec();
    if args.oldest_first {
        query.push(("order", "asc".to_owned()));
    }
    let answer = args.server.client()?.get(&subject.path(), &query).await?;
    if subject == Subject::Quarantine {
        return output.print(&answer, |page: Page<Value>| any(&page.items));
    }
    output.print(&answer, |page: Page<Event>| {
        table(
            &["VERSION", "AT", "TYPE", "PRINCIPAL", "POSITION", "DATA"],
            page.items.into_iter().map(event_row),
        )
    })
}

fn event_row(event: Event) -> Vec<String> {
    let version = event.stream_version.map(|version| version.to_string());
    vec![
        version.unwrap_or_default(),
        event.at.to_string(),
        event.kind,
        event.principal.unwrap_or_default(),
        event.position,
        // Often long, so last.
        if event.data.is_null() {
            String::new()
        } else {
            event.data.to_string()
        },
    ]
}

/// Objects of any kind, the fields of the first as columns.
fn any(items: &[Value]) -> String {
    let Some(first) = items.first().and_then(Value::as_object) else {
        return "nothing\n".to_owned();
    };
    let heads: Vec<&str> = first.keys().map(String::as_str).collect();
    table(
        &heads,
        items
            .iter()
            .map(|item| heads.iter().map(|head| plain(&item[*head])).collect()),
    )
}

/// Text without its quotes, nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_events_is_told_by_prefix_or_form() {
        let uuid = "0198c2a0-7c00-7000-8000-000000000001";
        for (text, path) in [
            (format!("job-{uuid}"), format!("/api/v1/jobs/job-{uuid}/events")),
            (uuid.to_owned(), format!("/api/v1/jobs/job-{uuid}/events")),
            (format!("{uuid}-3"), format!("/api/v1/tasks/task-{uuid}-3/events")),
            (
                format!("worker-{uuid}"),
                format!("/api/v1/workers/worker-{uuid}/events"),
            ),
            ("a".to_owned(), "/api/v1/workers/worker-a/events".to_owned()),
        ] {
            assert_eq!(Subject::read(&text).unwrap().path(), path);
        }
        assert!(Subject::read("job-1").is_err() && Subject::read("a b").is_err());
    }
}
