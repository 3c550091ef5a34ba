//! A task as its job keeps it: 32 bytes, so that a million fit; and the table of legal transitions.

use super::event::{Event, FailureReason, ReadyCause, TaskState};
use super::{Attempt, Timestamp};

/// A task's memory in its job's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// When its timer strikes: retry due (FAILED), start timeout (SCHEDULED), run timeout (RUNNING).
    pub(super) due: Timestamp,
    /// Version of its last event.
    pub(super) version: u32,
    /// Version of the event that set `due`; 0: no timer.
    pub(super) timer_version: u32,
    pub(super) attempt: u32,
    /// One more than the index into its job's table of workers; 0: never scheduled.
    pub(super) worker: u32,
    pub(super) retries_used: u16,
    pub(super) losses_used: u8,
    pub(super) handed_back: u8,
    pub(super) restarts: u8,
    pub(super) state: TaskState,
    pub(super) reason: FailureReason,
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<TaskRecord>() == 32);

const FINAL: u8 = 1;
const RETRY_PENDING: u8 = 2;
const ATTEMPT_OPEN: u8 = 4;

impl TaskRecord {
    pub(super) const fn new() -> Self {
        Self {
            due: Timestamp::ZERO,
            version: 0,
            timer_version: 0,
            attempt: 0,
            worker: 0,
            retries_used: 0,
            losses_used: 0,
            handed_back: 0,
            restarts: 0,
            state: TaskState::Ready,
            reason: FailureReason::Error,
            flags: 0,
        }
    }

    pub const fn state(&self) -> TaskState {
        self.state
    }

    pub const fn version(&self) -> u32 {
        self.version
    }

    pub const fn attempt(&self) -> Attempt {
        Attempt(self.attempt)
    }

    pub const fn retries_used(&self) -> u16 {
        self.retries_used
    }

    pub const fn losses_used(&self) -> u8 {
        self.losses_used
    }

    pub const fn handed_back(&self) -> u8 {
        self.handed_back
    }

    pub const fn restarts(&self) -> u8 {
        self.restarts
    }

    /// Why it failed; only for a FAILED task.
    pub fn reason(&self) -> Option<FailureReason> {
        (self.state == TaskState::Failed).then_some(self.reason)
    }

    /// FAILED, and no retry follows.
    pub const fn is_final(&self) -> bool {
        self.flags & FINAL != 0
    }

    pub const fn retry_pending(&self) -> bool {
        self.flags & RETRY_PENDING != 0
    }

    /// An attempt that was given up whose end is not known yet.
    pub const fn attempt_open(&self) -> bool {
        self.flags & ATTEMPT_OPEN != 0
    }

    /// The time and the identity of its timer.
    pub fn timer(&self) -> Option<(Timestamp, u32)> {
        (self.timer_version != 0).then_some((self.due, self.timer_version))
    }

    pub(super) fn set_flag(&mut self, flag: Flag, on: bool) {
        let bit = match flag {
            Flag::Final => FINAL,
            Flag::RetryPending => RETRY_PENDING,
            Flag::AttemptOpen => ATTEMPT_OPEN,
        };
        if on {
            self.flags |= bit;
        } else {
            self.flags &= !bit;
        }
    }

    pub(super) fn set_timer(&mut self, due: Option<Timestamp>, version: u32) {
        self.due = due.unwrap_or(Timestamp::ZERO);
        self.timer_version = if due.is_some() { version } else { 0 };
    }
}

#[derive(Clone, Copy)]
pub(super) enum Flag {
    Final,
    RetryPending,
    AttemptOpen,
}

/// An event that the state it meets does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not possible for task {task} in state {state}: {why}")]
pub struct IllegalTransition {
    /// 0: the job itself.
    pub task: u32,
    pub state: &'static str,
    pub event: &'static str,
    pub why: &'static str,
}

/// The state after `event`, for a task in state `from` (`None`: not yet written out).
///
/// Every pair is listed. What of the pair depends on more than the state is checked here too.
pub(super) fn next_state(from: Option<&TaskRecord>, event: &Event) -> Result<TaskState, &'static str> {
    use TaskState::{Completed, Failed, Ready, Running, Scheduled};
    let state = from.map(|record| record.state);
    let same_attempt = |attempt: Attempt| from.is_some_and(|record| record.attempt == attempt.0);
    let ensure = |legal: bool, to: TaskState, why| if legal { Ok(to) } else { Err(why) };
    match (state, event) {
        (None, Event::TaskReady(ready)) => ensure(
            ready.cause == ReadyCause::Submission,
            Ready,
            "a task begins with its submission",
        ),
        (None, Event::TaskFailed(failed)) => ensure(
            failed.r#final && failed.attempt.0 == 0 && failed.from == Ready,
            Failed,
            "it was never scheduled",
        ),
        (Some(Ready), Event::TaskScheduled(scheduled)) => {
            let record = from.ok_or("no record")?;
            ensure(
                scheduled.attempt.0 == record.attempt + 1 && !record.attempt_open(),
                Scheduled,
                "its attempt is not the next one, or the earlier one has not ended",
            )
        }
        (Some(Scheduled), Event::TaskStarted(started)) => {
            ensure(same_attempt(started.attempt), Running, "another attempt")
        }
        (Some(Running), Event::TaskCompleted(completed)) => {
            ensure(same_attempt(completed.attempt), Completed, "another attempt")
        }
        (Some(Ready | Scheduled | Running), Event::TaskFailed(failed)) => ensure(
            same_attempt(failed.attempt) && Some(failed.from) == state,
            Failed,
            "another attempt or state",
        ),
        (Some(Failed), Event::RetryScheduled(_)) => ensure(
            from.is_some_and(|record| !record.is_final()),
            Failed,
            "the failure is final",
        ),
        (Some(Failed), Event::RetryCancelled(_)) => ensure(
            from.is_some_and(TaskRecord::retry_pending),
            Failed,
            "no retry is pending",
        ),
        (Some(Failed), Event::TaskReady(ready)) => {
            let record = from.ok_or("no record")?;
            match ready.cause {
                ReadyCause::Submission => Err("it was submitted already"),
                ReadyCause::Retry { .. } => ensure(record.retry_pending(), Ready, "no retry is pending"),
                ReadyCause::HandedBack => ensure(
                    !record.is_final() && !record.retry_pending(),
                    Ready,
                    "it was not handed back",
                ),
                ReadyCause::JobRetry { was } => ensure(
                    record.is_final() && record.reason == was,
                    Ready,
                    "it has not finally failed so",
                ),
            }
        }
        (Some(Ready | Failed), Event::AttemptEnded(ended)) => {
            let open = from.is_some_and(TaskRecord::attempt_open) && same_attempt(ended.attempt);
            ensure(open, state.unwrap_or(Failed), "no such attempt is open")
        }
        (
            None,
            Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_),
        )
        | (
            Some(Ready),
            Event::TaskReady(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_),
        )
        | (
            Some(Scheduled),
            Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskCompleted(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_),
        )
        | (
            Some(Running),
            Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_),
        )
        | (
            Some(Completed),
            Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::TaskFailed(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_),
        )
        | (
            Some(Failed),
            Event::TaskScheduled(_) | Event::TaskStarted(_) | Event::TaskCompleted(_) | Event::TaskFailed(_),
        ) => Err("the state machine has no such step"),
        (
            None | Some(Ready | Scheduled | Running | Completed | Failed),
            Event::JobSubmitted(_)
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
            | Event::WorkerDrainRequested(_),
        ) => Err("it is not an event of a task"),
    }
}
