//! Traces through a shard: from a command to its commit, and from a job's submission to its assignments.
//!
//! Must stay true: nothing here is decided by. A shard that is loaded anew finds its jobs' traces in the log, and their
//! later attempts are then under the command instead of its commit.

use std::collections::HashMap;
use std::sync::Arc;

use super::staging::Output;
use crate::domain::event::StreamId;
use crate::domain::{Event, Job, JobId};
use crate::event::EventRecord;
use crate::log::Log;
use crate::telemetry::{Span, SpanKind};

#[derive(Default)]
pub(super) struct Traces {
    /// Where the commit stands that brought the job's latest run about, or the command.
    jobs: HashMap<JobId, Arc<str>>,
    /// Of the batch under way.
    commits: Vec<Span>,
}

impl Traces {
    /// Those that jobs are part of, as the log tells; none where spans are not told.
    pub(super) async fn of(log: &Log, jobs: &[Job]) -> Self {
        let unfinished = jobs.iter().filter(|job| job.finished().is_none()).map(Job::id);
        let jobs: Vec<JobId> = unfinished.collect();
        if !Span::are_told() || jobs.is_empty() {
            return Self::default();
        }
        match log.traceparents(jobs).await {
            Ok(jobs) => Self {
                jobs,
                commits: Vec::new(),
            },
            Err(error) => {
                // No reason not to open a shard.
                tracing::warn!(%error, "shard.traces.unread");
                Self::default()
            }
        }
    }

    /// A batch goes to the journal: a commit for each command with a trace that has events in it.
    pub(super) fn committing(&mut self, records: &[EventRecord]) {
        let mut command = None;
        for record in records {
            let traced = record.meta.traceparent.as_deref();
            if traced.is_some() && record.meta.command.is_some() && record.meta.command != command {
                command = record.meta.command;
                let span = Span::under(traced, "commit", SpanKind::Internal);
                if span.traceparent().is_none() {
                    // Nobody is told of spans.
                    return;
                }
                self.commits.push(span);
            }
            self.remember(record);
        }
    }

    fn remember(&mut self, record: &EventRecord) {
        let StreamId::Job(job) = record.stream else { return };
        match &record.event {
            Event::JobSubmitted(_) | Event::JobRetryRequested(_) if record.meta.traceparent.is_some() => {
                let commit = self.commits.last().and_then(Span::traceparent);
                self.jobs.extend(commit.map(|commit| (job, commit)));
            }
            Event::JobFinished(_) => {
                self.jobs.remove(&job);
            }
            _ => {}
        }
    }

    /// The batch is in the log.
    pub(super) fn committed(&mut self) {
        self.commits.clear();
    }

    /// Puts assignments under the commit of their job. They end with what is given.
    pub(super) fn assigning(&self, outputs: &mut [Output]) -> Vec<Span> {
        if self.jobs.is_empty() {
            return Vec::new();
        }
        let mut spans = Vec::new();
        for output in outputs {
            let Output::Assign { assignment, .. } = output else {
                continue;
            };
            let task = assignment.attempt.task;
            let mut span = Span::under(
                self.jobs.get(&task.job).map(AsRef::as_ref),
                "assign task",
                SpanKind::Producer,
            );
            assignment.traceparent = span.traceparent();
            span.set("grid.task_id", &task);
            spans.push(span);
        }
        spans
    }
}
