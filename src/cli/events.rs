//! `grid events`: histories, and the log as it grows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::RepublishArgs;
use super::feed::{self, Followed};
use super::jobs::PageArgs;
use super::output::{Output, table};
use super::view::{Event, Page};
use super::{Failure, ServerArgs, not_an_id};
use crate::domain::{JobId, TaskId, WorkerName};

const EVENTS_HELP: &str = "Examples:
  grid events job-0198c2a0-7c00-7000-8000-000000000001 --oldest-first
  grid events --follow --output json
  grid events --export events.ndjson; grid events --export more.ndjson --after \"$(tail -n 1 events.ndjson | jq -r .after)\"";

/// `grid events`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EVENTS_HELP)]
pub struct EventsArgs {
    #[command(subcommand)]
    pub command: Option<EventsCommand>,
    /// Whose history: job-<uuid>, task-<job uuid>-<number> or worker-<name>; with --follow and --export a job or task,
    /// or nothing for everything
    #[arg(
        value_name = "JOB|TASK|WORKER",
        required_unless_present_any = ["quarantine", "follow", "export"],
        conflicts_with = "quarantine"
    )]
    of: Option<String>,
    /// What could not be read or decided and was set aside
    #[arg(long)]
    quarantine: bool,
    /// Begin with the oldest
    #[arg(long, conflicts_with_all = ["quarantine", "follow", "export"])]
    oldest_first: bool,
    /// Print what happens from now on, or after --after, until interrupted; with --output json a line of JSON an event
    #[arg(long, conflicts_with_all = ["quarantine", "export"])]
    follow: bool,
    /// Write everything up to now, or what came after --after, as lines of JSON into a file; - is stdout
    #[arg(long, value_name = "FILE", conflicts_with = "quarantine")]
    export: Option<PathBuf>,
    /// Only what came after the event with this `after`; `start` is the beginning, `end` now
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Whose events.
#[derive(Debug, PartialEq)]
pub enum Subject {
    Quarantine,
    Job(JobId),
    Task(TaskId),
    Worker(WorkerName),
}

impl Subject {
    /// With a prefix it is what that says; without, the form tells.
    pub fn read(text: &str) -> Result<Self, Failure> {
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

/// What else can be done with events.
#[derive(Clone, Debug, Subcommand)]
pub enum EventsCommand {
    /// Fill the topic of events from the log: a new one, an emptied one, or one that lacks its beginning
    Republish(Box<RepublishArgs>),
}

pub async fn events(args: &EventsArgs, output: Output) -> anyhow::Result<()> {
    let subject = args.of.as_deref().map(Subject::read).transpose()?;
    if args.follow || args.export.is_some() {
        let of = Followed::new(subject)?;
        let client = args.server.client()?;
        return match &args.export {
            Some(file) => feed::export(&client, &of, args.after.as_deref(), file).await,
            None => feed::follow(&client, &of, args.after.as_deref(), output).await,
        };
    }
    if args.after.is_some() {
        return Err(Failure::Usage("--after goes with --follow or --export".to_owned()).into());
    }
    let subject = subject.unwrap_or(Subject::Quarantine);
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
