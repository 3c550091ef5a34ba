//! The executor of pipelines: one thread an attempt, so that a pipeline that computes holds up nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Executor;
use super::attempt::{AttemptContext, Completion, Control, ControlState, Outcome, next_wish};
use super::lines::{Feed, Record, Stream, cut_line};
use super::saving::{LAST_WORDS, Saving, kept_before};
use crate::document::TaskKind;
use crate::domain::{Failure, FailureReason};
use crate::worker::pipeline::{
    Control as PipelineControl, Keeper, Pipeline, PipelineFailure, PipelineFailureReason, PipelineReport, RunContext,
    SecretReader,
};

#[derive(Clone, Copy, Debug, Default)]
pub struct PipelineExecutor;

#[async_trait]
impl Executor for PipelineExecutor {
    async fn run(&self, attempt: AttemptContext, mut control: Control) -> Outcome {
        let switch = CancelOnDrop(PipelineControl::default());
        let every = attempt.checkpoints.every();
        let (keeper, taken) = Keeper::every(every.unwrap_or_default());
        let context = RunContext {
            resume: kept_before(&attempt).await,
            // Dropped where nothing is kept: then the saving ends at once.
            keeper: every.map(|_| keeper),
            ..run_context(&attempt, switch.0.clone())
        };
        let mut saving = pin!(Saving::new(&attempt, taken).until_the_end());
        let mut saved = None;
        let run = Run {
            handle: Handle::current(),
            context,
            record: Arc::new(Record::counted(&attempt.live)),
            attempt,
        };
        let (done, mut ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("grid-pipeline".to_owned())
            .spawn(move || {
                // Nobody waits any more when the attempt was dropped.
                let _ = done.send(run.to_the_end());
            });
        if let Err(error) = thread {
            let mut failure = Failure::new(FailureReason::Error, "cannot start the pipeline's thread");
            failure.causes.push(error.to_string());
            return Outcome::Failed(failure);
        }
        let mut asked = ControlState::Run;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut ended => {
                    break outcome.unwrap_or_else(|_| Outcome::failed(FailureReason::Error, "the pipeline's thread is gone"));
                }
                wish = next_wish(&mut control, asked), if asked != ControlState::Kill => {
                    asked = wish;
                    match wish {
                        ControlState::Run => {}
                        ControlState::Stop => switch.0.stop(),
                        ControlState::Kill => switch.0.cancel(),
                    }
                }
                ended = &mut saving, if saved.is_none() => saved = Some(ended),
            }
        };
        if let Outcome::Failed(failure) = &outcome {
            if saved.is_none() {
                saved = tokio::time::timeout(LAST_WORDS, &mut saving).await.ok();
            }
            if let Some(saved) = saved.filter(|_| failure.reason == FailureReason::Killed) {
                saved.tidy_up().await;
            }
        }
        outcome
    }
}

/// A dropped attempt's pipeline ends at its next batch.
struct CancelOnDrop(PipelineControl);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn run_context(attempt: &AttemptContext, control: PipelineControl) -> RunContext {
    RunContext {
        replica_index: attempt.replica_index,
        replica_count: attempt.replica_count.max(1),
        attempt: attempt.attempt.0,
        data_dir: attempt.data_dir.clone(),
        allow_paths: attempt.allow_paths.clone(),
        control,
        resume: None,
        keeper: None,
        letterbox: attempt.letters.letterbox(attempt.task_id, attempt.attempt),
        letters: attempt.letters.reader(),
        secrets: SecretReader::new({
            let secrets = attempt.secrets.clone();
            move |name| {
                let secret = secrets.read(name).map_err(|error| error.to_string())?;
                Ok(secret.expose().to_owned())
            }
        }),
    }
}

/// What the thread needs.
struct Run {
    handle: Handle,
    context: RunContext,
    record: Arc<Record>,
    attempt: AttemptContext,
}

impl Run {
    fn to_the_end(&self) -> Outcome {
        let result = catch_unwind(AssertUnwindSafe(|| self.run()));
        let output = self.record.take();
        match result {
            Ok(Ok(report)) => {
                let completion = Completion {
                    lines: output.lines,
                    bytes: output.bytes,
                    pipeline: Some(report),
                };
                Outcome::Completed(completion)
            }
            Ok(Err(failure)) => {
                let mut failure = told(failure);
                failure.last_log_lines = output.last_lines.into();
                Outcome::Failed(failure.capped())
            }
            Err(panic) => {
                let message = panic.downcast_ref::<&str>().map(ToString::to_string);
                let message = message
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                Outcome::failed(FailureReason::Error, format!("the pipeline broke: {message}"))
            }
        }
    }

    fn run(&self) -> Result<PipelineReport, PipelineFailure> {
        let TaskKind::Dag(nodes) = &self.attempt.task.kind else {
            return Err(PipelineFailure::from(Vec::new()));
        };
        let pipeline = Pipeline::compile(nodes, &self.context).map_err(PipelineFailure::from)?;
        self.attempt.live.set(pipeline.counters());
        let mut stdout = Feed::new(&self.attempt.lines, Stream::Stdout);
        let report = pipeline.run(&mut |line| self.hand_on(&mut stdout, line))?;
        let mut stderr = Feed::new(&self.attempt.lines, Stream::Stderr);
        for error in &report.first_errors {
            let failed = report
                .nodes
                .iter()
                .find(|counts| counts.node == error.node)
                .map_or(0, |counts| counts.errors);
            let line = format!(
                "WARN node `{}`: {failed} records failed, the first of: {}",
                error.node, error.message
            );
            self.hand_on(&mut stderr, &line);
        }
        Ok(report)
    }

    /// Holds the pipeline up while the log is full, for as long as the sink has patience.
    fn hand_on(&self, feed: &mut Feed<'_>, line: &str) {
        self.handle
            .block_on(feed.hand_on(cut_line(line), line.len() + 1, &self.record));
    }
}

fn told(failure: PipelineFailure) -> Failure {
    let reason = match failure.reason {
        PipelineFailureReason::Error => FailureReason::Error,
        PipelineFailureReason::InvalidDag => FailureReason::InvalidDag,
        PipelineFailureReason::Authentication => FailureReason::Authentication,
        PipelineFailureReason::Unrecoverable => FailureReason::Unrecoverable,
        PipelineFailureReason::Cancelled => FailureReason::Killed,
    };
    let mut told = Failure::new(reason, failure.to_string());
    told.causes = failure.causes;
    told
}
