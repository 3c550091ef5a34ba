//! What a job does with a command, a report or the passing of time: the events that follow, or a refusal.
//!
//! Must stay true: a repeat decides nothing; every decision is legal to apply; time and chance are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{
    AttemptEnded, Budget, Event, Failure, FailureReason, FanOutAdvanced, JobDeadlineReached, JobFinished,
    JobKillRequested, JobRetryRequested, JobStopRequested, JobSubmitted, LateEnd, ReadyCause, RetryCancelled,
    RetryScheduled, TaskCompleted, TaskFailed, TaskReady, TaskScheduled, TaskStarted, TaskState,
};
use super::job::{FanOutKind, Job};
use super::refusal::{Refusal, RefusalCode};
use super::task::TaskRecord;
use super::{Attempt, Incarnation, JobSpec, Timestamp, WorkerName};

/// How often a task may be handed back, or lose its worker to restarts, before that counts as its failure.
pub const MOST_FREE_RETURNS: u8 = 20;
/// How many lost workers a task survives.
pub const LOSS_BUDGET: u8 = 5;

/// Events with the task they belong to (0: the job), in order.
pub type Decision = Vec<(u32, Event)>;

/// How an attempt ended, as its worker reports it.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptOutcome {
    Completed {
        counters: BTreeMap<String, u64>,
    },
    Failed(Failure),
    /// Given back before it started.
    HandedBack,
}

/// Why a worker's attempts are known to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// Silent for too long, replaced by a newer process, or it does not know the attempt.
    Lost,
    /// The whole standalone was killed and started again.
    Restart,
}

impl Job {
    /// The first event of a job.
    pub fn decide_submit(spec: JobSpec, now: Timestamp) -> JobSubmitted {
        let deadline_at = spec.deadline_ms.map(|ms| now + Duration::from_millis(ms));
        JobSubmitted { spec, deadline_at }
    }

    pub fn decide_kill(&self) -> Decision {
        let ended_already = self
            .fan_outs
            .front()
            .is_some_and(|fan_out| matches!(fan_out.kind, FanOutKind::Kill | FanOutKind::Deadline));
        if !self.has_work() || ended_already {
            return Vec::new();
        }
        vec![(0, Event::JobKillRequested(JobKillRequested {}))]
    }

    pub fn decide_stop(&self) -> Decision {
        if !self.has_work() || self.is_ending() {
            return Vec::new();
        }
        vec![(0, Event::JobStopRequested(JobStopRequested {}))]
    }

    /// Tries the finally failed tasks again, with new budgets.
    pub fn decide_retry(&self, now: Timestamp) -> Result<Decision, Refusal> {
        if self.is_ending() && self.finished.is_none() {
            return Err(Refusal::new(
                RefusalCode::BeingEnded,
                format!("{} is being ended; retry it when it has finished", self.id),
            ));
        }
        if self.fan_outs.iter().any(|fan_out| fan_out.kind == FanOutKind::Retry) {
            return Ok(Vec::new());
        }
        let tasks: u32 = self.counters.finally_failed.iter().sum();
        if tasks == 0 {
            return Err(Refusal::new(
                RefusalCode::NothingFailed,
                format!("no task of {} has finally failed; there is nothing to retry", self.id),
            ));
        }
        let deadline_at = self.spec.deadline_ms.map(|ms| now + Duration::from_millis(ms));
        Ok(vec![(
            0,
            Event::JobRetryRequested(JobRetryRequested { tasks, deadline_at }),
        )])
    }

    /// The deadline's timer struck.
    pub fn decide_deadline(&self, version: u32, now: Timestamp) -> Decision {
        let due = self
            .deadline
            .is_some_and(|(due, set_by)| set_by == version && due <= now);
        let ending = self
            .fan_outs
            .front()
            .is_some_and(|fan_out| matches!(fan_out.kind, FanOutKind::Kill | FanOutKind::Deadline));
        if !due || ending || !self.has_work() {
            return Vec::new();
        }
        vec![(0, Event::JobDeadlineReached(JobDeadlineReached {}))]
    }

    /// The next chunk, of about `most` events, of the fan-out under way, with its progress fact.
    pub fn decide_fan_out(&self, most: usize) -> Decision {
        let Some(fan_out) = self.fan_outs.front().copied() else {
            return Vec::new();
        };
        let mut decision = Vec::new();
        let mut number = fan_out.next_task;
        // Looking at tasks that need nothing costs time too, so that is bounded as well.
        let last_looked_at = number.saturating_add((most as u32).saturating_mul(16));
        while number <= self.spec.task_count && decision.len() < most && number < last_looked_at {
            if let Some(event) = self.fan_out_step(fan_out.kind, number) {
                decision.push((number, event));
            }
            number += 1;
        }
        let advanced = FanOutAdvanced {
            request: fan_out.request,
            next_task: number,
        };
        decision.push((0, Event::FanOutAdvanced(advanced)));
        decision
    }

    fn fan_out_step(&self, kind: FanOutKind, number: u32) -> Option<Event> {
        let record = self.task(number);
        match kind {
            FanOutKind::Submission => match record {
                None => Some(ready(ReadyCause::Submission)),
                Some(_) => None,
            },
            FanOutKind::Retry => record
                .filter(|record| record.is_final())
                .map(|record| ready(ReadyCause::JobRetry { was: record.reason })),
            FanOutKind::Kill => end_step(record, FailureReason::Killed, "the job was killed"),
            FanOutKind::Deadline => end_step(record, FailureReason::Timeout, "the job's deadline was reached"),
            FanOutKind::Stop => match record.map(|record| record.state) {
                Some(TaskState::Running) => None,
                _ => end_step(record, FailureReason::Killed, "the job was stopped before the task ran"),
            },
        }
    }

    /// Says that the job has finished, when that is so and has not been said.
    pub fn decide_finished(&self) -> Decision {
        if !self.must_say_finished() {
            return Vec::new();
        }
        vec![(
            0,
            Event::JobFinished(JobFinished {
                status: self.counters.status(),
            }),
        )]
    }

    /// Places a READY task on a worker.
    pub fn decide_schedule(
        &self,
        number: u32,
        worker: &WorkerName,
        incarnation: Incarnation,
        now: Timestamp,
    ) -> Option<Event> {
        let record = self.task(number)?;
        if record.state != TaskState::Ready || record.attempt_open() {
            return None;
        }
        let start_ms = self.policy(number)?.timeouts.start_ms;
        Some(Event::TaskScheduled(TaskScheduled {
            attempt: Attempt(record.attempt + 1),
            worker: worker.clone(),
            incarnation,
            start_by: start_ms.map(|ms| now + Duration::from_millis(ms)),
        }))
    }

    /// A worker says that the attempt has started.
    pub fn decide_started(&self, number: u32, attempt: Attempt, now: Timestamp) -> Decision {
        match self.task(number) {
            Some(record) if record.state == TaskState::Scheduled && record.attempt == attempt.0 => {
                vec![(number, self.started(number, attempt, now))]
            }
            _ => Vec::new(),
        }
    }

    fn started(&self, number: u32, attempt: Attempt, now: Timestamp) -> Event {
        let run_ms = self.policy(number).and_then(|policy| policy.timeouts.run_ms);
        Event::TaskStarted(TaskStarted {
            attempt,
            run_by: run_ms.map(|ms| now + Duration::from_millis(ms)),
        })
    }

    /// A worker says how the attempt ended. `jitter` is drawn from 0 to 1.
    pub fn decide_ended(
        &self,
        number: u32,
        attempt: Attempt,
        outcome: AttemptOutcome,
        now: Timestamp,
        jitter: f64,
    ) -> Decision {
        let Some(record) = self.task(number).filter(|record| record.attempt == attempt.0) else {
            return Vec::new();
        };
        match record.state {
            TaskState::Scheduled | TaskState::Running => match outcome {
                AttemptOutcome::Completed { counters } => {
                    let mut decision = self.decide_started(number, attempt, now);
                    decision.push((number, Event::TaskCompleted(TaskCompleted { attempt, counters })));
                    decision
                }
                AttemptOutcome::Failed(failure) => self.fail(number, record, failure, false, Draw { now, jitter }),
                AttemptOutcome::HandedBack => self.hand_back(number, record, "handed back by its worker", now, jitter),
            },
            TaskState::Ready | TaskState::Failed if record.attempt_open() => {
                let outcome = match outcome {
                    AttemptOutcome::Completed { .. } => LateEnd::Completed,
                    AttemptOutcome::Failed(_) | AttemptOutcome::HandedBack => LateEnd::Failed,
                };
                vec![(number, Event::AttemptEnded(AttemptEnded { attempt, outcome }))]
            }
            TaskState::Ready | TaskState::Failed | TaskState::Completed => Vec::new(),
        }
    }

    /// The process that had the attempt is dead, or has forgotten it.
    pub fn decide_lost(
        &self,
        number: u32,
        attempt: Attempt,
        cause: LossCause,
        now: Timestamp,
        jitter: f64,
    ) -> Decision {
        let Some(record) = self.task(number).filter(|record| record.attempt == attempt.0) else {
            return Vec::new();
        };
        match record.state {
            TaskState::Scheduled => self.hand_back(
                number,
                record,
                "its worker was lost before the attempt started",
                now,
                jitter,
            ),
            TaskState::Running => {
                let message = match cause {
                    LossCause::Lost => "its worker was lost while it ran",
                    LossCause::Restart => "the process was restarted while it ran",
                };
                let failure = Failure::new(FailureReason::WorkerLost, message);
                if cause == LossCause::Restart && !self.is_ending() && record.restarts < MOST_FREE_RETURNS {
                    let failed = failed(record, failure, false, false);
                    let retry = RetryScheduled {
                        retry: u16::from(record.restarts) + 1,
                        due_at: now,
                        budget: Budget::Restarts,
                    };
                    return vec![(number, failed), (number, Event::RetryScheduled(retry))];
                }
                self.fail(number, record, failure, false, Draw { now, jitter })
            }
            TaskState::Ready | TaskState::Failed if record.attempt_open() => {
                vec![(
                    number,
                    Event::AttemptEnded(AttemptEnded {
                        attempt,
                        outcome: LateEnd::WorkerLost,
                    }),
                )]
            }
            TaskState::Ready | TaskState::Failed | TaskState::Completed => Vec::new(),
        }
    }

    /// A task's timer struck. One that a later event replaced decides nothing.
    pub fn decide_timer(&self, number: u32, version: u32, now: Timestamp, jitter: f64) -> Decision {
        let Some(record) = self.task(number) else {
            return Vec::new();
        };
        if record.timer_version != version || version == 0 || record.due > now {
            return Vec::new();
        }
        match record.state {
            TaskState::Failed if record.retry_pending() => {
                vec![(
                    number,
                    ready(ReadyCause::Retry {
                        retry: record.retries_used,
                    }),
                )]
            }
            TaskState::Scheduled => {
                let failure = Failure::new(FailureReason::Timeout, "it did not start within its start timeout");
                self.fail(number, record, failure, true, Draw { now, jitter })
            }
            TaskState::Running => {
                let failure = Failure::new(FailureReason::Timeout, "it did not end within its run timeout");
                self.fail(number, record, failure, true, Draw { now, jitter })
            }
            TaskState::Ready | TaskState::Completed | TaskState::Failed => Vec::new(),
        }
    }

    /// Takes a scheduled retry back: the failure is final.
    pub fn decide_cancel_retry(&self, number: u32) -> Result<Decision, Refusal> {
        let record = self.pending_retry(number)?;
        Ok(vec![(
            number,
            Event::RetryCancelled(RetryCancelled { reason: record.reason }),
        )])
    }

    /// Makes a scheduled retry due at once.
    pub fn decide_bring_forward(&self, number: u32, now: Timestamp) -> Result<Decision, Refusal> {
        let record = self.pending_retry(number)?;
        if record.due <= now {
            return Ok(Vec::new());
        }
        let retry = RetryScheduled {
            retry: record.retries_used,
            due_at: now,
            budget: Budget::Paid,
        };
        Ok(vec![(number, Event::RetryScheduled(retry))])
    }

    fn pending_retry(&self, number: u32) -> Result<&TaskRecord, Refusal> {
        self.task(number)
            .filter(|record| record.retry_pending())
            .ok_or_else(|| {
                let id = self.task_id(number);
                Refusal::new(RefusalCode::NoRetryPending, format!("{id} has no retry pending"))
            })
    }

    fn hand_back(&self, number: u32, record: &TaskRecord, message: &str, now: Timestamp, jitter: f64) -> Decision {
        let failure = Failure::new(FailureReason::HandedBack, message);
        let before_start = record.state == TaskState::Scheduled;
        if !before_start || self.is_ending() || record.handed_back >= MOST_FREE_RETURNS {
            return self.fail(number, record, failure, false, Draw { now, jitter });
        }
        vec![
            (number, failed(record, failure, false, false)),
            (number, ready(ReadyCause::HandedBack)),
        ]
    }

    /// The failure and what follows from it: a retry, or nothing any more.
    fn fail(&self, number: u32, record: &TaskRecord, failure: Failure, attempt_open: bool, draw: Draw) -> Decision {
        let failure = self.as_ended_job(failure);
        let retry = if self.is_ending() {
            None
        } else {
            self.retry(number, record, failure.reason, draw.now, draw.jitter)
        };
        let mut decision = vec![(number, failed(record, failure, retry.is_none(), attempt_open))];
        decision.extend(retry.map(|retry| (number, Event::RetryScheduled(retry))));
        decision
    }

    /// While a job is being ended, whatever ends its tasks counts as that.
    fn as_ended_job(&self, mut failure: Failure) -> Failure {
        if !self.is_ending() {
            return failure;
        }
        let deadline = self
            .fan_outs
            .front()
            .is_some_and(|fan_out| fan_out.kind == FanOutKind::Deadline);
        let reason = if deadline {
            FailureReason::Timeout
        } else {
            FailureReason::Killed
        };
        if failure.reason != reason {
            failure.message = format!(
                "{} while the job was being ended: {}",
                failure.reason.name(),
                failure.message
            );
            failure.reason = reason;
        }
        failure
    }

    fn retry(
        &self,
        number: u32,
        record: &TaskRecord,
        reason: FailureReason,
        now: Timestamp,
        jitter: f64,
    ) -> Option<RetryScheduled> {
        if !reason.retryable() {
            return None;
        }
        if reason == FailureReason::WorkerLost {
            let used = record.losses_used;
            let delay = Duration::from_secs(if used == 0 { 0 } else { 1 << (used - 1).min(16) });
            return (used < LOSS_BUDGET).then(|| RetryScheduled {
                retry: u16::from(used) + 1,
                due_at: now + delay,
                budget: Budget::Losses,
            });
        }
        let policy = &self.policy(number)?.retry;
        (record.retries_used < policy.max_retries).then(|| RetryScheduled {
            retry: record.retries_used + 1,
            due_at: now + policy.delay(record.retries_used, jitter),
            budget: Budget::Retries,
        })
    }
}

fn ready(cause: ReadyCause) -> Event {
    Event::TaskReady(TaskReady { cause })
}

/// What a failure's retry is reckoned from.
#[derive(Clone, Copy)]
struct Draw {
    now: Timestamp,
    /// From 0 to 1.
    jitter: f64,
}

fn failed(record: &TaskRecord, failure: Failure, r#final: bool, attempt_open: bool) -> Event {
    Event::TaskFailed(Box::new(TaskFailed {
        attempt: Attempt(record.attempt),
        from: record.state,
        r#final,
        attempt_open: attempt_open || record.attempt_open(),
        failure: failure.capped(),
    }))
}

/// What ending a job does to one of its tasks.
fn end_step(record: Option<&TaskRecord>, reason: FailureReason, message: &str) -> Option<Event> {
    let unwritten = TaskRecord::new();
    let record = record.unwrap_or(&unwritten);
    match record.state {
        TaskState::Ready => Some(failed(record, Failure::new(reason, message), true, false)),
        TaskState::Scheduled | TaskState::Running => Some(failed(record, Failure::new(reason, message), true, true)),
        TaskState::Failed if record.retry_pending() => Some(Event::RetryCancelled(RetryCancelled { reason })),
        TaskState::Failed | TaskState::Completed => None,
    }
}
