//! Why a task is in the state that it is in, from its own history and its job's.

use super::explanation::{Explanation, Reason};
use super::ready::{Ready, attempt_open};
use crate::domain::event::{Failure, FailureReason};
use crate::domain::{FanOutKind, LOSS_BUDGET, Policy, ShardId, TaskHistory, TaskRecord, TaskState};
use crate::log::JobStory;
use crate::shard::{Candidate, Placing};

/// What the explanation of a task is made of.
pub struct Told<'a> {
    pub task: &'a TaskHistory,
    pub story: &'a JobStory,
    pub policy: &'a Policy,
    pub shard: ShardId,
    pub placing: &'a Placing,
    /// See [`Ready::active`].
    pub active: Option<u32>,
}

impl Told<'_> {
    pub fn explain(&self) -> Explanation {
        let explanation = match self.task.state() {
            TaskState::Ready => Ready {
                task: self.task,
                story: self.story,
                requires: &self.policy.requires,
                shard: self.shard,
                placing: self.placing,
                active: self.active,
            }
            .explain(),
            TaskState::Scheduled => self.scheduled(),
            TaskState::Running => self.running(),
            TaskState::Completed => self.completed(),
            TaskState::Failed => self.failed(),
        };
        explanation.with(|details| {
            details.since = details.since.or(self.task.since());
            if let Some(record) = self.task.record().filter(|record| record.attempt().0 > 0) {
                details.attempt = Some(record.attempt().0);
            }
        })
    }

    fn record(&self) -> Option<&TaskRecord> {
        self.task.record()
    }

    fn attempt(&self) -> u32 {
        self.record().map_or(0, |record| record.attempt().0)
    }

    fn worker(&self) -> String {
        let worker = self.task.last_worker();
        worker.map_or_else(|| "no worker".to_owned(), |(name, _)| name.to_string())
    }

    /// The process that has the attempt, as it is heard.
    fn seen(&self) -> Option<&Candidate> {
        self.placing.worker(self.task.last_worker()?.1)
    }

    /// Its worker has not been heard for a while.
    fn silent(&self, what: &str) -> Option<Explanation> {
        let worker = self
            .seen()
            .filter(|worker| self.placing.connected && worker.is_silent())?;
        let lost_at = worker.heard_at + self.placing.lost_after;
        let sentence = format!(
            "Attempt {} {what} {}, which has been silent since {}.",
            self.attempt(),
            worker.worker,
            worker.heard_at
        );
        let explanation = Explanation::new(Reason::WorkerSilent, sentence)
            .remedy(format!(
                "If it stays silent it counts as lost at {lost_at}, and the task is tried again elsewhere; look whether the \
                 worker runs and reaches the bus."
            ))
            .with(|details| {
                details.worker_id = Some(worker.worker.to_string());
                details.due_at = Some(lost_at);
            });
        Some(explanation)
    }

    fn scheduled(&self) -> Explanation {
        if let Some(silent) = self.silent("was given to") {
            return silent;
        }
        let due = self.record().and_then(TaskRecord::timer).map(|(due, _)| due);
        let load = self.seen().map(|worker| {
            format!(
                " There {} of {} slots are taken, and {} attempts wait.",
                worker.running.min(worker.max_capacity),
                worker.max_capacity,
                worker.queued
            )
        });
        let sentence = format!(
            "Attempt {} was given to {} and has not started, as far as was reported.{}",
            self.attempt(),
            self.worker(),
            load.unwrap_or_default()
        );
        let mut explanation = Explanation::new(Reason::AwaitingStart, sentence);
        if let Some(due) = due {
            explanation = explanation.remedy(format!(
                "If it has not started by {due}, its start timeout fails the attempt."
            ));
        }
        explanation.with(|details| {
            details.worker_id = Some(self.worker());
            details.due_at = due;
        })
    }

    fn running(&self) -> Explanation {
        if let Some(silent) = self.silent("runs on") {
            return silent;
        }
        let due = self.record().and_then(TaskRecord::timer).map(|(due, _)| due);
        let since = self.task.told().started_at;
        let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
        let until = due.map(|due| format!(", until its run timeout at {due} at the latest"));
        let (attempt, worker) = (self.attempt(), self.worker());
        let explanation = if self.story.requests.is_stopping() {
            let sentence = format!("Attempt {attempt} runs on {worker}{since} and was told to end in order.");
            Explanation::new(Reason::Stopping, sentence)
                .remedy("DELETE /api/v1/jobs/kill/{jobId} ends it at once.")
                .with(|details| details.requested_by.clone_from(&self.story.ended_by))
        } else {
            let until = until.unwrap_or_default();
            Explanation::new(
                Reason::Running,
                format!("Attempt {attempt} runs on {worker}{since}{until}."),
            )
        };
        explanation.with(|details| {
            details.worker_id = Some(worker);
            details.due_at = due;
        })
    }

    fn completed(&self) -> Explanation {
        let at = self.task.told().finished_at;
        let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
        let sentence = format!("It completed{at}, on attempt {}, on {}.", self.attempt(), self.worker());
        Explanation::new(Reason::Completed, sentence).with(|details| details.worker_id = Some(self.worker()))
    }

    fn failed(&self) -> Explanation {
        let (Some(record), Some(failure)) = (self.record(), self.task.told().failure.as_ref()) else {
            return Explanation::new(Reason::NotRetryable, "It failed.");
        };
        let explanation = match self.task.next_retry_at() {
            Some(_) => self.waits(record, failure),
            None => self.is_over(record, failure),
        };
        explanation.with(|details| {
            details.failure_reason = Some(failure.reason);
            details.failure_message = Some(failure.message.clone());
            details.last_log_lines.clone_from(&failure.last_log_lines);
            details.retries_used = Some(u32::from(record.retries_used()));
            details.max_retries = Some(u32::from(self.policy.retry.max_retries));
        })
    }

    fn waits(&self, record: &TaskRecord, failure: &Failure) -> Explanation {
        let due = self.task.next_retry_at().unwrap_or_default();
        let budget = match failure.reason {
            FailureReason::WorkerLost => format!("retry {} of {LOSS_BUDGET} after lost workers", record.losses_used()),
            _ => format!("retry {} of {}", record.retries_used(), self.policy.retry.max_retries),
        };
        let mut sentence = format!(
            "Attempt {} failed with {} ({}); it waits for {budget} at {due}.",
            self.attempt(),
            failure.reason.name(),
            failure.message
        );
        if record.attempt_open() {
            let open = attempt_open(self.task, self.placing);
            sentence = format!("{sentence} Then, too: {}", open.sentence);
        }
        Explanation::new(Reason::RetryWait, sentence)
            .remedy(
                "POST /api/v1/tasks/{taskId}/retry makes it due now; DELETE of the same takes it back, and the failure is \
                 final.",
            )
            .with(|details| details.due_at = Some(due))
    }

    /// The failure is final.
    fn is_over(&self, record: &TaskRecord, failure: &Failure) -> Explanation {
        const REMEDY: &str = "POST /api/v1/jobs/{jobId}/retry tries the job's failed tasks again, with new budgets.";
        let told = format!("{} ({})", failure.reason.name(), failure.message);
        let ended = self.story.requests.ended().map(|request| request.fan_out.kind);
        let explanation = match failure.reason {
            FailureReason::Killed => Explanation::new(Reason::Killed, self.killed(record)).with(|details| {
                details.requested_by.clone_from(&self.story.ended_by);
                details.requested_at = self.story.requests.ended().map(|request| request.at);
            }),
            FailureReason::Timeout if ended == Some(FanOutKind::Deadline) => {
                let sentence = "Its job's deadline was reached before it completed.".to_owned();
                Explanation::new(Reason::DeadlineReached, sentence)
            }
            reason if !reason.retryable() => {
                let sentence = format!(
                    "Attempt {} failed with {told}, which is never tried again.",
                    self.attempt()
                );
                Explanation::new(Reason::NotRetryable, sentence)
            }
            _ if self.task.retry_cancelled() => {
                let sentence = format!(
                    "Attempt {} failed with {told}, and its retry was cancelled.",
                    self.attempt()
                );
                Explanation::new(Reason::RetryCancelled, sentence)
            }
            _ => {
                let budget = match failure.reason {
                    FailureReason::WorkerLost => format!("all {} retries after lost workers", record.losses_used()),
                    FailureReason::HandedBack => format!("all {} free returns", record.handed_back()),
                    _ if self.policy.retry.max_retries == 0 => "no retries are configured".to_owned(),
                    _ => format!("all {} retries", record.retries_used()),
                };
                let used = if budget.starts_with("no ") { "" } else { " are used up" };
                let sentence = format!("Attempt {} failed with {told}, and {budget}{used}.", self.attempt());
                Explanation::new(Reason::RetriesUsedUp, sentence)
            }
        };
        explanation.remedy(REMEDY).with(|details| {
            details.worker_id = self.task.last_worker().map(|(name, _)| name.to_string());
        })
    }

    fn killed(&self, record: &TaskRecord) -> String {
        let by = self.story.ended_by.as_ref();
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        let at = self
            .task
            .told()
            .finished_at
            .map(|at| format!(" at {at}"))
            .unwrap_or_default();
        let during = match self.task.told().failed_from {
            Some(TaskState::Running) => format!("while attempt {} ran on {}", self.attempt(), self.worker()),
            Some(TaskState::Scheduled) => format!("while attempt {} waited on {}", self.attempt(), self.worker()),
            Some(TaskState::Ready) | None => "while it waited for a worker".to_owned(),
            Some(TaskState::Failed | TaskState::Completed) => "after a failure".to_owned(),
        };
        let during = if self.task.retry_cancelled() {
            "while it waited for its retry".to_owned()
        } else {
            during
        };
        let end = if record.attempt_open() {
            format!(" {} has not said yet that the attempt ended.", self.worker())
        } else {
            String::new()
        };
        format!("It was killed{by}{at}, {during}.{end}")
    }
}
