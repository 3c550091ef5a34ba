//! The actor of one running attempt: it takes the assignment and what is wanted of it later, drives the executor, and
//! tells the worker when the attempt begins and ends.
//!
//! Must stay true: it tells of exactly one end, also when it breaks; nothing of the attempt runs after that end, nor
//! when the actor is dropped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;
use tracing::Instrument;

use super::actor::{TaskNews, WorkerActor};
use super::checkpoints::Checkpoints;
use super::documents::Documents;
use super::executor::{AttemptContext, Completion, Control, ControlState, Executor, Executors, LineSink, LiveCounters};
use super::executor::{Outcome as Ended, Secrets};
use super::letters::LetterPost;
use super::log_feed::{self, Outlets};
use super::reported::Reported;
use super::samples::Sampler;
use super::together::Together;
use crate::domain::{Epoch, ExecutorKind, Failure, FailureReason, WorkerName};
use crate::event::{Assignment, AttemptRef, Outcome};
use crate::logs::capture::Rate;
use crate::metrics::Points;
use crate::telemetry::{Span, SpanKind};

/// What all attempts of a worker share.
pub(super) struct Bench {
    pub(super) worker: WorkerName,
    pub(super) executors: Executors,
    pub(super) documents: Documents,
    pub(super) checkpoints: Checkpoints,
    pub(super) data_dir: PathBuf,
    pub(super) allow_paths: Vec<PathBuf>,
    pub(super) secrets: Secrets,
    pub(super) points: Points,
    pub(super) together: Arc<Together>,
    pub(super) reported: Reported,
    pub(super) log_rate: Rate,
    pub(super) lines_to: Outlets,
    pub(super) letters: LetterPost,
}

impl Bench {
    fn lines(&self, attempt: &AttemptRef) -> LineSink {
        log_feed::open(
            attempt.task,
            attempt.attempt,
            &self.worker,
            self.log_rate,
            &self.lines_to,
        )
    }
}

/// What is wanted of the attempt. Only ever goes forward.
#[derive(Clone, Copy)]
pub(super) struct Wish(pub(super) ControlState);

impl Message for Wish {
    type Result = ();
}

pub(super) struct TaskActor {
    run: Option<Run>,
    control: watch::Sender<ControlState>,
}

struct Run {
    bench: Arc<Bench>,
    assignment: Box<Assignment>,
    epoch: Epoch,
    worker: Addr<WorkerActor>,
    control: Control,
}

impl TaskActor {
    pub(super) fn new(bench: Arc<Bench>, assignment: Box<Assignment>, epoch: Epoch, worker: Addr<WorkerActor>) -> Self {
        let (sender, control) = watch::channel(ControlState::Run);
        let run = Run {
            bench,
            assignment,
            epoch,
            worker,
            control,
        };
        Self {
            run: Some(run),
            control: sender,
        }
    }
}

impl Actor for TaskActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(run) = self.run.take() else { return };
        let attempt = run.assignment.attempt;
        let span = tracing::info_span!(
            "attempt", task = %attempt.task, attempt = attempt.attempt.0, epoch = run.epoch.0
        );
        ctx.spawn(
            run.finish()
                .instrument(span)
                .into_actor(self)
                .map(|(), _, ctx| ctx.stop()),
        );
    }
}

impl Handler<Wish> for TaskActor {
    type Result = ();

    fn handle(&mut self, Wish(wish): Wish, _: &mut Self::Context) {
        self.control.send_if_modified(|state| {
            let rises = wish > *state;
            *state = (*state).max(wish);
            rises
        });
    }
}

/// Tells the worker of the end, if nobody else has: when the executor panicked, or the actor did.
struct LastWord {
    worker: Addr<WorkerActor>,
    attempt: AttemptRef,
    said: bool,
}

impl LastWord {
    async fn say(mut self, outcome: Outcome) {
        self.said = true;
        let news = TaskNews::Ended(self.attempt, outcome);
        // A worker that is gone wants to know nothing any more.
        let _ = self.worker.send(news).await;
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if self.said {
            return;
        }
        let failure = Failure::new(
            FailureReason::Error,
            "the attempt broke inside the worker; its log says why",
        );
        let news = TaskNews::Ended(self.attempt, Outcome::Failed { failure });
        let telling = self.worker.send(news);
        if tokio::runtime::Handle::try_current().is_ok() {
            crate::task::spawn("last_word", telling);
        }
    }
}

impl Run {
    async fn finish(self) {
        let attempt = self.assignment.attempt;
        let last_word = LastWord {
            worker: self.worker.clone(),
            attempt,
            said: false,
        };
        let assigned = self.assignment.traceparent.clone();
        let mut span = Span::under(assigned.as_deref(), "execute task", SpanKind::Consumer);
        span.set("grid.task_id", &attempt.task);
        span.set("grid.attempt", &attempt.attempt);
        span.set("grid.worker_id", &self.bench.worker);
        let outcome = self.run(span.traceparent()).await;
        if let Outcome::Failed { failure } = &outcome {
            span.fail(&failure.message);
        }
        drop(span);
        last_word.say(outcome).await;
    }

    async fn run(self, traceparent: Option<Arc<str>>) -> Outcome {
        let Assignment {
            attempt,
            document_hash,
            group_index,
            ..
        } = &*self.assignment;
        let mut asked = self.control.clone();
        let task = tokio::select! {
            biased;
            // A stop too: what has not begun has nothing to end in order.
            _ = asked.wait_for(|state| *state > ControlState::Run) => {
                return failed(FailureReason::Killed, "it was ended before it started");
            }
            task = self.bench.documents.task(document_hash, *group_index) => task,
        };
        let task = match task {
            Ok(task) => task,
            Err(error) => {
                tracing::warn!(%error, "attempt.handed_back");
                return Outcome::HandedBack;
            }
        };
        if task.kind.executor() != self.assignment.executor {
            return failed(
                FailureReason::Error,
                "the document does not have what the assignment names",
            );
        }
        let lines = match self.assignment.executor {
            // It writes nothing.
            ExecutorKind::Noop => LineSink::discard(),
            ExecutorKind::Process | ExecutorKind::Pipeline => self.bench.lines(attempt),
        };
        let context = AttemptContext {
            job: attempt.task.job,
            task,
            task_id: attempt.task,
            attempt: attempt.attempt,
            worker: self.bench.worker.clone(),
            replica_index: self.assignment.replica_index,
            replica_count: self.assignment.replica_count,
            data_dir: self.bench.data_dir.clone(),
            allow_paths: self.bench.allow_paths.clone(),
            secrets: self.bench.secrets.clone(),
            lines,
            live: LiveCounters::default(),
            checkpoints: self.bench.checkpoints.clone(),
            traceparent,
            reported: self.bench.reported.clone(),
            letters: self.bench.letters.clone(),
        };
        let _ = self.worker.send(TaskNews::Started(*attempt)).await;
        let sampler = Sampler::begin(&self.bench.points, &self.bench.together, &context);
        let run = self.bench.executors.run(context, self.control);
        let ended = match sampler {
            Some(sampler) => sampler.along(run).await,
            None => run.await,
        };
        match ended {
            Ended::Completed(completion) => Outcome::Completed {
                counters: counters(completion),
            },
            Ended::Failed(failure) => Outcome::Failed {
                failure: failure.capped(),
            },
        }
    }
}

fn failed(reason: FailureReason, message: &str) -> Outcome {
    Outcome::Failed {
        failure: Failure::new(reason, message),
    }
}

/// What an attempt counted, by name: `lines` and `bytes` of output, and of a pipeline `deadLetters`,
/// `resumedFromAttempt` (the attempt from whose checkpoint it went on) and `<node>.eventsIn` and so on. What is 0 is left out.
fn counters(completion: Completion) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut put = |name: String, count: u64| {
        if count > 0 {
            counters.insert(name, count);
        }
    };
    put("lines".to_owned(), completion.lines);
    put("bytes".to_owned(), completion.bytes);
    if let Some(report) = completion.pipeline {
        put("deadLetters".to_owned(), report.dead_letters);
        put(
            "resumedFromAttempt".to_owned(),
            u64::from(report.resumed_from.unwrap_or(0)),
        );
        for node in report.nodes {
            let counts = [
                ("eventsIn", node.events_in),
                ("eventsOut", node.events_out),
                ("bytesIn", node.bytes_in),
                ("bytesOut", node.bytes_out),
                ("errors", node.errors),
            ];
            counts
                .into_iter()
                .for_each(|(name, count)| put(format!("{}.{name}", node.node), count));
        }
    }
    counters
}
