//! Changes of rows turned into columns, as the statement takes them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::change::{
    AttemptRow, BLOCK_TASKS, Changes, CounterDeltas, JobChange, NewJob, SupersededAttempt, TaskChange, WorkerChange,
    storable, to_json,
};
use crate::domain::event::WorkerEnd;
use crate::domain::{JobId, ShardId, TaskId, Timestamp};

type Time = Option<DateTime<Utc>>;

fn time(at: Option<Timestamp>) -> Time {
    at.map(Timestamp::to_datetime)
}

const fn shard(shard: ShardId) -> i32 {
    shard.0 as i32
}

/// Numbers of tasks, attempts and tries stay far below the bound.
fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// One column for each counter.
pub type CounterColumns = [Vec<i32>; 14];

fn push_counters(columns: &mut CounterColumns, deltas: &CounterDeltas) {
    let values = deltas
        .states
        .iter()
        .chain([&deltas.retries_pending])
        .chain(&deltas.finally_failed);
    for (column, value) in columns.iter_mut().zip(values) {
        column.push(*value);
    }
}

/// New rows of jobs.
#[derive(Debug, Default)]
pub struct JobColumns {
    pub shard: Vec<i32>,
    pub id: Vec<Uuid>,
    pub external_id: Vec<Option<String>>,
    pub labels: Vec<String>,
    pub document_hash: Vec<String>,
    pub principal: Vec<String>,
    pub task_count: Vec<i32>,
    pub max_parallel: Vec<Option<i32>>,
    pub deadline: Vec<Time>,
    pub created_at: Vec<Time>,
    pub finished_at: Vec<Time>,
    pub seq: Vec<i64>,
    pub counters: CounterColumns,
    pub spec: Vec<String>,
}

/// Rows of jobs that are there.
#[derive(Debug, Default)]
pub struct MovedJobColumns {
    pub shard: Vec<i32>,
    pub id: Vec<Uuid>,
    pub sets_finished_at: Vec<bool>,
    pub finished_at: Vec<Time>,
    pub sets_deadline: Vec<bool>,
    pub deadline: Vec<Time>,
    pub seq: Vec<i64>,
    pub counters: CounterColumns,
}

impl JobColumns {
    pub fn split(changes: &Changes) -> (Self, MovedJobColumns) {
        let (mut new, mut moved) = (Self::default(), MovedJobColumns::default());
        // In one order everywhere, so that two writers cannot wait for each other's rows.
        let mut jobs: Vec<(&JobId, &JobChange)> = changes.jobs.iter().collect();
        jobs.sort_unstable_by_key(|(id, _)| **id);
        for (id, change) in jobs {
            match &change.new {
                Some(_) => new.push(*id, change),
                None => moved.push(*id, change),
            }
        }
        (new, moved)
    }

    fn push(&mut self, id: JobId, change: &JobChange) {
        let Some(new) = &change.new else { return };
        self.shard.push(shard(change.shard));
        self.id.push(id.0);
        self.external_id.push(new.external_id.clone());
        self.labels.push(new.labels.clone());
        self.document_hash.push(new.document_hash.clone());
        self.principal.push(new.principal.clone());
        self.task_count.push(int(new.task_count));
        self.max_parallel.push(new.max_parallel.map(int));
        self.deadline.push(time(change.deadline.flatten()));
        self.created_at.push(time(Some(new.created_at)));
        self.finished_at.push(time(change.finished_at.flatten()));
        self.seq.push(change.seq.0 as i64);
        push_counters(&mut self.counters, &change.counters);
        self.spec.push(new.spec.clone());
    }
}

impl MovedJobColumns {
    fn push(&mut self, id: JobId, change: &JobChange) {
        self.shard.push(shard(change.shard));
        self.id.push(id.0);
        self.sets_finished_at.push(change.finished_at.is_some());
        self.finished_at.push(time(change.finished_at.flatten()));
        self.sets_deadline.push(change.deadline.is_some());
        self.deadline.push(time(change.deadline.flatten()));
        self.seq.push(change.seq.0 as i64);
        push_counters(&mut self.counters, &change.counters);
    }
}

/// What finds new jobs and their tasks by name.
#[derive(Debug, Default)]
pub struct NameColumns {
    pub label_shard: Vec<i32>,
    pub label_job: Vec<Uuid>,
    pub label_name: Vec<String>,
    pub label_value: Vec<String>,
    pub label_created_at: Vec<Time>,
    pub label_task_count: Vec<i32>,
    pub task_shard: Vec<i32>,
    pub task_job: Vec<Uuid>,
    pub task_first_number: Vec<i32>,
    pub task_replicas: Vec<i32>,
    pub task_name: Vec<String>,
    pub task_created_at: Vec<Time>,
}

impl NameColumns {
    pub fn of(changes: &Changes) -> Self {
        let mut columns = Self::default();
        let new = |(id, change)| Some((id, change, JobChange::new_row(change)?));
        let mut jobs: Vec<(&JobId, &JobChange, &NewJob)> = changes.jobs.iter().filter_map(new).collect();
        jobs.sort_unstable_by_key(|(id, ..)| **id);
        for (id, change, new) in jobs {
            for (name, value) in &new.label_pairs {
                columns.label_shard.push(shard(change.shard));
                columns.label_job.push(id.0);
                columns.label_name.push(name.clone());
                columns.label_value.push(value.clone());
                columns.label_created_at.push(time(Some(new.created_at)));
                columns.label_task_count.push(int(new.task_count));
            }
            for task in &new.task_names {
                columns.task_shard.push(shard(change.shard));
                columns.task_job.push(id.0);
                columns.task_first_number.push(int(task.first_number));
                columns.task_replicas.push(int(task.replicas));
                columns.task_name.push(task.name.clone());
                columns.task_created_at.push(time(Some(new.created_at)));
            }
        }
        columns
    }
}

/// Rows of blocks of tasks.
#[derive(Debug, Default)]
pub struct BlockColumns {
    pub shard: Vec<i32>,
    pub job: Vec<Uuid>,
    pub block: Vec<i32>,
    pub states: [Vec<i32>; 5],
}

impl BlockColumns {
    /// New ones, and those that may be there.
    pub fn split(changes: &Changes) -> (Self, Self) {
        let (mut new, mut moved) = (Self::default(), Self::default());
        let mut jobs: Vec<(&JobId, &JobChange)> = changes.jobs.iter().collect();
        jobs.sort_unstable_by_key(|(id, _)| **id);
        for (id, change) in jobs {
            match &change.new {
                Some(row) if row.task_count > BLOCK_TASKS => new.push(*id, change, |_| true),
                Some(_) => {}
                None => moved.push(*id, change, |states| *states != [0; 5]),
            }
        }
        (new, moved)
    }

    fn push(&mut self, id: JobId, change: &JobChange, counts: impl Fn(&[i32; 5]) -> bool) {
        for (block, states) in change.blocks.iter().filter(|(_, states)| counts(states)) {
            self.shard.push(shard(change.shard));
            self.job.push(id.0);
            self.block.push(int(*block));
            for (column, value) in self.states.iter_mut().zip(states) {
                column.push(*value);
            }
        }
    }
}

/// What rows tell of attempts.
#[derive(Debug, Default)]
pub struct ToldColumns {
    pub worker: Vec<Option<String>>,
    pub scheduled_at: Vec<Time>,
    pub started_at: Vec<Time>,
    pub finished_at: Vec<Time>,
    pub reason: Vec<Option<&'static str>>,
    pub failure: Vec<Option<String>>,
}

impl ToldColumns {
    fn push(&mut self, told: &AttemptRow) {
        self.worker
            .push(told.worker.as_ref().map(|worker| worker.as_str().to_owned()));
        self.scheduled_at.push(time(told.scheduled_at));
        self.started_at.push(time(told.started_at));
        self.finished_at.push(time(told.finished_at));
        self.reason.push(told.reason.map(|reason| reason.name()));
        self.failure.push(told.failure.as_ref().map(to_json));
    }
}

/// Superseded attempts.
#[derive(Debug, Default)]
pub struct AttemptColumns {
    pub shard: Vec<i32>,
    pub job: Vec<Uuid>,
    pub number: Vec<i32>,
    pub from_row: Vec<bool>,
    pub attempt: Vec<Option<i32>>,
    pub told: ToldColumns,
}

impl AttemptColumns {
    pub fn new(attempts: &[SupersededAttempt]) -> Self {
        let mut columns = Self::default();
        for attempt in attempts {
            columns.shard.push(shard(attempt.shard));
            columns.job.push(attempt.task.job.0);
            columns.number.push(int(attempt.task.number));
            columns.from_row.push(attempt.complete_from_row);
            columns.attempt.push(attempt.attempt.map(int));
            columns.told.push(&attempt.told);
        }
        columns
    }
}

/// Rows of tasks, new or there.
#[derive(Debug, Default)]
pub struct TaskColumns {
    pub shard: Vec<i32>,
    pub job: Vec<Uuid>,
    pub number: Vec<i32>,
    pub cleared: Vec<bool>,
    pub attempt: Vec<Option<i32>>,
    pub retry_count: Vec<Option<i16>>,
    pub state: Vec<&'static str>,
    pub next_retry_at: Vec<Time>,
    pub told: ToldColumns,
}

impl TaskColumns {
    pub fn split(changes: &Changes) -> (Self, Self) {
        let (mut new, mut moved) = (Self::default(), Self::default());
        // In the order of the key, so that neighbours meet on the same page of the index and the table.
        let mut tasks: Vec<(&TaskId, &TaskChange)> = changes.tasks.iter().collect();
        tasks.sort_unstable_by_key(|(id, _)| **id);
        for (id, change) in tasks {
            if change.new {
                new.push(*id, change);
            } else {
                moved.push(*id, change);
            }
        }
        (new, moved)
    }

    fn push(&mut self, id: TaskId, change: &TaskChange) {
        self.shard.push(shard(change.shard));
        self.job.push(id.job.0);
        self.number.push(int(id.number));
        self.cleared.push(change.cleared);
        self.attempt.push(change.attempt.map(int));
        self.retry_count
            .push(change.retry_count.map(|count| i16::try_from(count).unwrap_or(i16::MAX)));
        self.state.push(change.state.name());
        self.next_retry_at.push(time(change.next_retry_at));
        self.told.push(&change.told);
    }
}

/// Rows of workers that have registered.
#[derive(Debug, Default)]
pub struct WorkerColumns {
    pub name: Vec<String>,
    pub shard: Vec<i32>,
    pub incarnation: Vec<Uuid>,
    pub endpoint_url: Vec<String>,
    pub max_capacity: Vec<i64>,
    pub labels: Vec<String>,
    pub registered_at: Vec<Time>,
    pub created_at: Vec<Time>,
    pub left_at: Vec<Time>,
    pub left_cause: Vec<Option<&'static str>>,
    pub cordoned: Vec<bool>,
    pub draining: Vec<bool>,
    pub seq: Vec<i64>,
}

/// Rows of workers that are there and have left, or stand otherwise than before.
#[derive(Debug, Default)]
pub struct MovedWorkerColumns {
    pub name: Vec<String>,
    pub shard: Vec<i32>,
    pub incarnation: Vec<Uuid>,
    pub left_at: Vec<Time>,
    pub left_cause: Vec<Option<&'static str>>,
    pub cordoned: Vec<Option<bool>>,
    pub draining: Vec<Option<bool>>,
    pub seq: Vec<i64>,
}

impl WorkerColumns {
    pub fn split(changes: &Changes) -> (Self, MovedWorkerColumns) {
        let (mut registered, mut moved) = (Self::default(), MovedWorkerColumns::default());
        for (name, change) in &changes.workers {
            if change.registered.is_some() {
                registered.push(name.as_str(), change);
            } else {
                moved.push(name.as_str(), change);
            }
        }
        (registered, moved)
    }

    fn push(&mut self, name: &str, change: &WorkerChange) {
        let Some(registered) = &change.registered else { return };
        self.name.push(storable(name));
        self.shard.push(shard(change.shard));
        self.incarnation.push(change.incarnation.0);
        self.endpoint_url.push(registered.endpoint_url.clone());
        self.max_capacity.push(i64::from(registered.max_capacity));
        self.labels.push(registered.labels.clone());
        self.registered_at.push(time(Some(registered.registered_at)));
        self.created_at.push(time(Some(registered.first_registered_at)));
        self.left_at.push(time(change.left.map(|(at, _)| at)));
        self.left_cause.push(change.left.map(|(_, cause)| worker_end(cause)));
        self.cordoned.push(change.cordoned.unwrap_or(false));
        self.draining.push(change.draining.unwrap_or(false));
        self.seq.push(change.seq.0 as i64);
    }
}

impl MovedWorkerColumns {
    fn push(&mut self, name: &str, change: &WorkerChange) {
        self.name.push(storable(name));
        self.shard.push(shard(change.shard));
        self.incarnation.push(change.incarnation.0);
        self.left_at.push(time(change.left.map(|(at, _)| at)));
        self.left_cause.push(change.left.map(|(_, cause)| worker_end(cause)));
        self.cordoned.push(change.cordoned);
        self.draining.push(change.draining);
        self.seq.push(change.seq.0 as i64);
    }
}

/// As it is written in the column.
pub const fn worker_end(cause: WorkerEnd) -> &'static str {
    match cause {
        WorkerEnd::Drained => "DRAINED",
        WorkerEnd::Lost => "LOST",
        WorkerEnd::Superseded => "SUPERSEDED",
    }
}
