//! The tables in memory, written as the statement writes them.

use std::collections::BTreeMap;

use super::super::change::{AttemptRow, BLOCK_TASKS, TaskChange};
use super::super::machine::WriteSet;
use crate::domain::event::TaskState;
use crate::domain::{Counters, Incarnation, JobId, TaskId, Timestamp};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobRow {
    pub counters: Counters,
    pub task_count: u32,
    /// By state, of each block of tasks.
    pub blocks: BTreeMap<u32, [u32; 5]>,
    pub finished_at: Option<Timestamp>,
    pub deadline: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    pub state: TaskState,
    pub attempt: u32,
    pub retry_count: u16,
    pub next_retry_at: Option<Timestamp>,
    pub told: AttemptRow,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRow {
    pub incarnation: Incarnation,
    pub created_at: Timestamp,
    pub registered_at: Timestamp,
    pub left: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    pub jobs: BTreeMap<JobId, JobRow>,
    pub tasks: BTreeMap<TaskId, TaskRow>,
    pub attempts: BTreeMap<(TaskId, u32), AttemptRow>,
    pub workers: BTreeMap<String, WorkerRow>,
}

fn add(counter: &mut u32, delta: i32) {
    *counter = counter.checked_add_signed(delta).expect("no counter goes below zero");
}

impl Store {
    pub fn write(&mut self, set: WriteSet) {
        for (id, change) in set.changes.jobs {
            if let Some(new) = &change.new {
                let row = JobRow {
                    task_count: new.task_count,
                    ..JobRow::default()
                };
                assert!(self.jobs.insert(id, row).is_none(), "a job is made once");
            }
            let row = self.jobs.get_mut(&id).expect("a job begins with its submission");
            let (counters, deltas) = (&mut row.counters, &change.counters);
            let states = [
                &mut counters.ready,
                &mut counters.scheduled,
                &mut counters.running,
                &mut counters.completed,
                &mut counters.failed,
            ];
            states
                .into_iter()
                .zip(deltas.states)
                .for_each(|(counter, delta)| add(counter, delta));
            add(&mut counters.retries_pending, deltas.retries_pending);
            counters
                .finally_failed
                .iter_mut()
                .zip(deltas.finally_failed)
                .for_each(|(counter, delta)| add(counter, delta));
            if row.task_count > BLOCK_TASKS {
                for (block, deltas) in change.blocks {
                    let states = row.blocks.entry(block).or_default();
                    states
                        .iter_mut()
                        .zip(deltas)
                        .for_each(|(counter, delta)| add(counter, delta));
                }
            }
            row.finished_at = change.finished_at.unwrap_or(row.finished_at);
            row.deadline = change.deadline.unwrap_or(row.deadline);
        }
        for attempt in set.changes.attempts {
            let row = self.tasks.get(&attempt.task).filter(|_| attempt.complete_from_row);
            let told = merged(attempt.told, row.map(|row| &row.told));
            let number = attempt.attempt.or(row.map(|row| row.attempt)).unwrap();
            if told.scheduled_at.is_some() {
                assert!(
                    self.attempts.insert((attempt.task, number), told).is_none(),
                    "an attempt is kept once"
                );
            }
        }
        for (id, change) in set.changes.tasks {
            let row = self.tasks.get(&id);
            assert_eq!(
                row.is_none(),
                change.new,
                "a row is made once, by the task's first event"
            );
            let row = written(change, row);
            self.tasks.insert(id, row);
        }
        for (name, change) in set.changes.workers {
            let before = self.workers.get(name.as_str());
            let row = match (change.registered, before) {
                (Some(registered), _) => WorkerRow {
                    incarnation: change.incarnation,
                    created_at: before.map_or(registered.first_registered_at, |row| row.created_at),
                    registered_at: registered.registered_at,
                    left: change.left.map(|(at, _)| at),
                },
                (None, Some(row)) if row.incarnation == change.incarnation => WorkerRow {
                    left: change.left.map(|(at, _)| at),
                    ..*row
                },
                (None, _) => continue,
            };
            self.workers.insert(name.as_str().to_owned(), row);
        }
    }
}

fn merged(told: AttemptRow, row: Option<&AttemptRow>) -> AttemptRow {
    let Some(row) = row.cloned() else { return told };
    AttemptRow {
        worker: told.worker.or(row.worker),
        scheduled_at: told.scheduled_at.or(row.scheduled_at),
        started_at: told.started_at.or(row.started_at),
        finished_at: told.finished_at.or(row.finished_at),
        reason: told.reason.or(row.reason),
        failure: told.failure.or(row.failure),
    }
}

fn written(change: TaskChange, row: Option<&TaskRow>) -> TaskRow {
    TaskRow {
        state: change.state,
        attempt: change.attempt.or(row.map(|row| row.attempt)).unwrap_or(0),
        retry_count: change.retry_count.or(row.map(|row| row.retry_count)).unwrap_or(0),
        next_retry_at: change.next_retry_at,
        told: merged(change.told, row.filter(|_| !change.cleared).map(|row| &row.told)),
    }
}
