//! How events of tasks move the counters of their job, and those of a block of a large job's tasks.

use crate::domain::event::{Budget, Event, ReadyCause, TaskState};

/// How many tasks with neighbouring numbers are counted together, in jobs that have more.
pub const BLOCK_TASKS: u32 = 512;

/// The block of a task, by its number: the first is block 0.
pub const fn block_of(number: u32) -> u32 {
    number.saturating_sub(1) / BLOCK_TASKS
}

/// How the counters of a job move; the order is that of the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterDeltas {
    /// By state, in the order of [`TaskState::ALL`].
    pub states: [i32; 5],
    pub retries_pending: i32,
    /// By reason, in the order of [`FailureReason::ALL`].
    pub finally_failed: [i32; 8],
}

impl CounterDeltas {
    fn shift(&mut self, from: TaskState, to: TaskState) {
        self.states[from as usize] -= 1;
        self.states[to as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        add(&mut self.states, &other.states);
        self.retries_pending += other.retries_pending;
        add(&mut self.finally_failed, &other.finally_failed);
    }
}

/// One by one.
pub fn add<const N: usize>(sums: &mut [i32; N], deltas: &[i32; N]) {
    for (sum, delta) in sums.iter_mut().zip(deltas) {
        *sum += delta;
    }
}

/// How one event of a task moves the counters of its job.
pub fn count(event: &Event) -> CounterDeltas {
    use TaskState::{Completed, Failed, Ready, Running, Scheduled};
    let mut deltas = CounterDeltas::default();
    match event {
        Event::TaskReady(ready) => match ready.cause {
            // It has counted as READY since its job's submission.
            ReadyCause::Submission => {}
            ReadyCause::Retry { .. } => {
                deltas.shift(Failed, Ready);
                deltas.retries_pending -= 1;
            }
            ReadyCause::HandedBack => deltas.shift(Failed, Ready),
            ReadyCause::JobRetry { was } => {
                deltas.shift(Failed, Ready);
                deltas.finally_failed[was as usize] -= 1;
            }
        },
        Event::TaskScheduled(_) => deltas.shift(Ready, Scheduled),
        Event::TaskStarted(_) => deltas.shift(Scheduled, Running),
        Event::TaskCompleted(_) => deltas.shift(Running, Completed),
        Event::TaskFailed(failed) => {
            deltas.shift(failed.from, Failed);
            if failed.r#final {
                deltas.finally_failed[failed.failure.reason as usize] += 1;
            }
        }
        Event::RetryScheduled(retry) => match retry.budget {
            Budget::Retries | Budget::Losses | Budget::Restarts => deltas.retries_pending += 1,
            // It takes the place of one that is pending.
            Budget::Paid => {}
        },
        Event::RetryCancelled(cancelled) => {
            deltas.retries_pending -= 1;
            deltas.finally_failed[cancelled.reason as usize] += 1;
        }
        Event::AttemptEnded(_)
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
    deltas
}
