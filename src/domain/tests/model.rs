//! A job as a child would keep it: one entry a task, changed by events alone, sharing no code with the real one.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::{Budget, Event, FailureReason, ReadyCause, TaskState};
use crate::domain::{Counters, JobStatus, Timestamp};

#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub state: Option<TaskState>,
    pub attempt: u32,
    pub pending: bool,
    pub is_final: bool,
    pub reason: Option<FailureReason>,
    pub retries: u32,
    pub losses: u32,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub entries: BTreeMap<u32, Entry>,
    /// Attempts that a worker was given and whose end nobody has told: what may be running in the world.
    pub in_the_world: BTreeSet<(u32, u32)>,
    /// How many retries the task's policy allows, and whether its delays are exactly 1, 2, 4, … seconds.
    pub policy_of: fn(u32) -> (u32, bool),
}

impl Model {
    pub fn new(tasks: u32, policy_of: fn(u32) -> (u32, bool)) -> Self {
        let entries = (1..=tasks).map(|task| (task, Entry::default())).collect();
        Self {
            entries,
            in_the_world: BTreeSet::new(),
            policy_of,
        }
    }

    /// Takes in an event and checks what it promises.
    pub fn see(&mut self, task: u32, event: &Event, now: Timestamp) {
        let (most_retries, plain_delays) = (self.policy_of)(task);
        let Some(entry) = self.entries.get_mut(&task) else {
            return;
        };
        match event {
            Event::TaskReady(ready) => {
                if matches!(ready.cause, ReadyCause::JobRetry { .. }) {
                    entry.retries = 0;
                    entry.losses = 0;
                }
                *entry = Entry {
                    state: Some(TaskState::Ready),
                    pending: false,
                    is_final: false,
                    ..entry.clone()
                };
            }
            Event::TaskScheduled(scheduled) => {
                assert!(scheduled.attempt.0 > entry.attempt, "attempts rise");
                entry.attempt = scheduled.attempt.0;
                entry.state = Some(TaskState::Scheduled);
                assert!(
                    self.in_the_world.iter().all(|(other, _)| *other != task),
                    "task {task} is placed while an earlier attempt may still run"
                );
                self.in_the_world.insert((task, scheduled.attempt.0));
            }
            Event::TaskStarted(_) => entry.state = Some(TaskState::Running),
            Event::TaskCompleted(_) => entry.state = Some(TaskState::Completed),
            Event::TaskFailed(failed) => {
                assert_eq!(failed.from, entry.state.unwrap_or(TaskState::Ready));
                entry.state = Some(TaskState::Failed);
                entry.is_final = failed.r#final;
                entry.reason = Some(failed.failure.reason);
            }
            Event::RetryScheduled(retry) => {
                let delay_ms = retry.due_at.since(now).as_millis();
                match retry.budget {
                    Budget::Retries => {
                        if plain_delays {
                            assert_eq!(delay_ms, (0..entry.retries).fold(1_000, |delay, _| delay * 2));
                        }
                        entry.retries += 1;
                        assert!(entry.retries <= most_retries, "more retries than allowed");
                    }
                    Budget::Losses => {
                        assert_eq!(delay_ms, [0, 1_000, 2_000, 4_000, 8_000][entry.losses as usize]);
                        entry.losses += 1;
                    }
                    Budget::Restarts | Budget::Paid => assert_eq!(delay_ms, 0),
                }
                entry.pending = true;
            }
            Event::RetryCancelled(cancelled) => {
                assert!(entry.pending);
                entry.pending = false;
                entry.is_final = true;
                entry.reason = Some(cancelled.reason);
            }
            _ => {}
        }
    }

    /// Somebody said that this attempt has ended, or that its process is dead.
    pub fn told_end(&mut self, task: u32, attempt: u32) {
        self.in_the_world.remove(&(task, attempt));
    }

    pub fn count(&self, state: TaskState) -> u32 {
        let is = |entry: &&Entry| entry.state.unwrap_or(TaskState::Ready) == state;
        self.entries.values().filter(is).count() as u32
    }

    pub fn unfinished(&self) -> bool {
        self.entries.values().any(|entry| match entry.state {
            None | Some(TaskState::Ready | TaskState::Scheduled | TaskState::Running) => true,
            Some(TaskState::Completed) => false,
            Some(TaskState::Failed) => entry.pending,
        })
    }

    pub fn counters(&self) -> Counters {
        let finally = |reason| {
            self.entries
                .values()
                .filter(|entry| entry.is_final && entry.reason == Some(reason))
                .count() as u32
        };
        Counters {
            ready: self.count(TaskState::Ready),
            scheduled: self.count(TaskState::Scheduled),
            running: self.count(TaskState::Running),
            completed: self.count(TaskState::Completed),
            failed: self.count(TaskState::Failed),
            retries_pending: self.entries.values().filter(|entry| entry.pending).count() as u32,
            finally_failed: FailureReason::ALL.map(finally),
        }
    }

    /// The words of the documentation, one after the other.
    pub fn status(&self) -> JobStatus {
        if self.entries.is_empty() {
            return JobStatus::Empty;
        }
        if self.unfinished() {
            return JobStatus::Running;
        }
        let failed: Vec<_> = self
            .entries
            .values()
            .filter(|entry| entry.state == Some(TaskState::Failed))
            .collect();
        let all = |reason| failed.iter().all(|entry| entry.reason == Some(reason));
        let nothing_completed = self.count(TaskState::Completed) == 0;
        if failed.is_empty() {
            JobStatus::Completed
        } else if all(FailureReason::Timeout) {
            JobStatus::Timeout
        } else if failed.iter().all(|entry| entry.reason != Some(FailureReason::Timeout))
            && (!all(FailureReason::Killed) || nothing_completed)
        {
            JobStatus::Failed
        } else {
            JobStatus::Mixed
        }
    }
}
