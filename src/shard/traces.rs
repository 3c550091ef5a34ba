//! Traces through a shard: from a command to its commit, and from a job's submission to its assignments.
//!
//! Must stay true: nothing here is decided by or kept: a shard that is loaded anew goes on without, and the attempts of
//! its jobs are then in no trace.

use std::collections::HashMap;
use std::sync::Arc;

use super::staging::Output;
use crate::domain::event::StreamId;
use crate::domain::{Event, JobId};
use crate::event::EventRecord;
use crate::telemetry::{Span, SpanKind};

#[derive(Default)]
pub(super) struct Traces {
    /// Where the commit stands that brought the job's latest run about.
    jobs: HashMap<JobId, Arc<str>>,
    /// Of the batch under way.
    commits: Vec<Span>,
}

impl Traces {
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
