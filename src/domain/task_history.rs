//! One task by itself, folded from its own stream: for looking at it, or back at it, without the rest of its job.
//!
//! Must stay true: the record is made by the very steps by which a job's array is kept, so it is the one that the job
//! has, or had.

use super::event::{Event, Failure, ReadyCause, TaskState};
use super::job::change;
use super::task::next_state;
use super::{Fact, IllegalTransition, Incarnation, TaskRecord, Timestamp, WorkerName};

/// What is told of a task's present attempt; empty from when it becomes READY until it is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptTold {
    pub worker: Option<WorkerName>,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub failure: Option<Failure>,
    /// The state that it failed from.
    pub failed_from: Option<TaskState>,
}

/// A task while its events are taken in, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskHistory {
    number: u32,
    record: Option<TaskRecord>,
    told: AttemptTold,
    last_worker: Option<(WorkerName, Incarnation)>,
    ready: Option<ReadyCause>,
    since: Option<Timestamp>,
    retry_cancelled: bool,
}

impl TaskHistory {
    /// A task that is not written out yet: it counts as READY.
    pub const fn new(number: u32) -> Self {
        Self {
            number,
            record: None,
            told: AttemptTold {
                worker: None,
                scheduled_at: None,
                started_at: None,
                finished_at: None,
                failure: None,
                failed_from: None,
            },
            last_worker: None,
            ready: None,
            since: None,
            retry_cancelled: false,
        }
    }

    /// Takes in one fact.
    ///
    /// # Errors
    /// When the state that it meets does not allow it, or its version is not the next one.
    pub fn apply(&mut self, fact: Fact<'_>) -> Result<(), IllegalTransition> {
        let illegal = |why| IllegalTransition {
            task: self.number,
            state: self.record.map_or("unwritten", |record| record.state().name()),
            event: fact.event.type_name(),
            why,
        };
        if fact.task != self.number || fact.version != self.version() + 1 {
            return Err(illegal("its version is not the next one"));
        }
        let state = next_state(self.record.as_ref(), fact.event).map_err(illegal)?;
        let mut record = self.record.unwrap_or(TaskRecord::new());
        if self.record.is_none_or(|before| before.state() != state) {
            self.since = Some(fact.at);
        }
        // The table of workers is the job's; here the one that counts is kept beside the record.
        change(&mut record, fact, state, 1);
        self.record = Some(record);
        self.tell(fact);
        Ok(())
    }

    fn tell(&mut self, fact: Fact<'_>) {
        if !matches!(fact.event, Event::AttemptEnded(_)) {
            self.retry_cancelled = matches!(fact.event, Event::RetryCancelled(_));
        }
        match fact.event {
            Event::TaskReady(ready) => {
                self.told = AttemptTold::default();
                self.ready = Some(ready.cause);
            }
            Event::TaskScheduled(scheduled) => {
                self.told = AttemptTold {
                    worker: Some(scheduled.worker.clone()),
                    scheduled_at: Some(fact.at),
                    ..AttemptTold::default()
                };
                self.last_worker = Some((scheduled.worker.clone(), scheduled.incarnation));
            }
            Event::TaskStarted(_) => self.told.started_at = Some(fact.at),
            Event::TaskCompleted(_) => self.told.finished_at = Some(fact.at),
            Event::TaskFailed(failed) => {
                self.told.finished_at = Some(fact.at);
                self.told.failure = Some(failed.failure.clone());
                self.told.failed_from = Some(failed.from);
            }
            Event::RetryCancelled(cancelled) => {
                if let Some(failure) = &mut self.told.failure {
                    failure.reason = cancelled.reason;
                }
            }
            Event::RetryScheduled(_)
            | Event::AttemptEnded(_)
            | Event::JobSubmitted(_)
            | Event::JobKillRequested(_)
            | Event::JobStopRequested(_)
            | Event::JobRetryRequested(_)
            | Event::JobDeadlineReached(_)
            | Event::FanOutAdvanced(_)
            | Event::JobFinished(_)
            | Event::WorkerRegistered(_)
            | Event::WorkerLeft(_)
            | Event::WorkerCordoned(_)
            | Event::WorkerUncordoned(_)
            | Event::WorkerDrainRequested(_) => {}
        }
    }

    /// `None`: not written out yet.
    pub const fn record(&self) -> Option<&TaskRecord> {
        self.record.as_ref()
    }

    pub fn state(&self) -> TaskState {
        self.record.map_or(TaskState::Ready, |record| record.state())
    }

    /// Version of its last event; 0: it has none.
    pub fn version(&self) -> u32 {
        self.record.map_or(0, |record| record.version())
    }

    /// Of the present attempt, as people see it.
    pub const fn told(&self) -> &AttemptTold {
        &self.told
    }

    /// Where its last attempt is, or was.
    pub const fn last_worker(&self) -> Option<&(WorkerName, Incarnation)> {
        self.last_worker.as_ref()
    }

    /// Why it became READY the last time.
    pub const fn ready_cause(&self) -> Option<ReadyCause> {
        self.ready
    }

    /// When it came into its state; `None`: not written out yet.
    pub const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Its retry was taken back, so that its failure is final.
    pub const fn retry_cancelled(&self) -> bool {
        self.retry_cancelled
    }

    /// When its retry is due.
    pub fn next_retry_at(&self) -> Option<Timestamp> {
        let record = self.record.filter(TaskRecord::retry_pending)?;
        record.timer().map(|(due, _)| due)
    }
}
