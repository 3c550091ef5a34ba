//! What the rows should hold: folded event by event, with the domain's own job beside.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::listed::{Blocks, Labels, TaskNames};
use super::rows::{AttemptRow, Attempts, JobRow, TaskRow, WorkerRow};
use crate::domain::event::{Event, Failure, JobSubmitted, ReadyCause, TaskState, WorkerEnd};
use crate::domain::{Fact, Incarnation, Job, JobId, JobStatus, Seq, ShardId, Timestamp, WorkerName};
use crate::event::{EventRecord, Meta};

/// Jobs with more tasks have their states counted in blocks of so many.
const TASKS_IN_A_BLOCK: u32 = 512;

/// (column, expected, found)
pub type Differing = Vec<(&'static str, String, String)>;

/// What the domain's record of a task does not keep.
#[derive(Clone, Debug, Default)]
struct Told {
    worker: Option<String>,
    scheduled_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    failure: Option<Box<Failure>>,
}

pub struct ExpectedJob {
    job: Job,
    seq: Seq,
    principal: String,
    finished_at: Option<Timestamp>,
    told: Vec<Told>,
    superseded: Attempts,
}

impl ExpectedJob {
    pub fn submitted(id: JobId, seq: Seq, submitted: &JobSubmitted, meta: &Meta) -> Self {
        Self {
            job: Job::submitted(id, submitted, meta.at, meta.command),
            seq,
            principal: stored(&meta.principal),
            finished_at: None,
            told: Vec::new(),
            superseded: Attempts::new(),
        }
    }

    pub const fn id(&self) -> JobId {
        self.job.id()
    }

    pub fn written(&self) -> u32 {
        self.job.written()
    }

    pub const fn superseded(&self) -> &Attempts {
        &self.superseded
    }

    pub fn spec_json(&self) -> String {
        serde_json::to_string(self.job.spec().as_ref()).unwrap_or_default()
    }

    pub fn labels(&self) -> Labels {
        let at = self.job.submitted_at();
        let spec = self.job.spec();
        spec.labels
            .iter()
            .map(|(name, value)| (stored(name), (stored(value), at, spec.task_count)))
            .collect()
    }

    pub fn task_names(&self) -> TaskNames {
        let mut next = 1;
        let mut names = TaskNames::new();
        for group in &self.job.spec().groups {
            let name = (group.replicas, stored(&group.external_id), self.job.submitted_at());
            names.insert(next, name);
            next += group.replicas;
        }
        names
    }

    pub fn blocks(&self) -> Blocks {
        let mut blocks = Blocks::new();
        let tasks = self.job.spec().task_count;
        if tasks <= TASKS_IN_A_BLOCK {
            return blocks;
        }
        for number in 1..=tasks {
            let state = self.job.task(number).map_or(TaskState::Ready, |task| task.state());
            blocks.entry((number - 1) / TASKS_IN_A_BLOCK).or_insert([0; 5])[state as usize] += 1;
        }
        blocks
    }

    pub fn take(&mut self, seq: Seq, task: u32, record: &EventRecord) {
        self.seq = seq;
        let at = record.meta.at;
        let attempt = self.job.task(task).map_or(0, |task| task.attempt().0);
        let reason = self.job.task(task).and_then(|task| task.reason());
        let fact = Fact {
            task,
            version: record.version,
            at,
            command: record.meta.command,
            event: &record.event,
        };
        // Whether it was legal is checked by who gives the events.
        if self.job.apply(fact).is_err() {
            return;
        }
        match &record.event {
            Event::JobFinished(_) => self.finished_at = Some(at),
            Event::JobRetryRequested(_) => self.finished_at = None,
            _ => {}
        }
        let Some(index) = (task as usize).checked_sub(1) else {
            return;
        };
        if self.told.len() <= index {
            self.told.resize_with(index + 1, Told::default);
        }
        let told = &mut self.told[index];
        match &record.event {
            Event::TaskReady(ready) => {
                let before = std::mem::take(told);
                if ready.cause != ReadyCause::Submission
                    && let Some(scheduled_at) = before.scheduled_at
                {
                    let row = AttemptRow {
                        scheduled_at,
                        started_at: before.started_at,
                        finished_at: before.finished_at,
                        worker: before.worker,
                        reason: reason.map(|reason| reason.name().to_owned()),
                    };
                    self.superseded.insert((task, attempt), row);
                }
            }
            Event::TaskScheduled(scheduled) => {
                let worker = Some(scheduled.worker.as_str().to_owned());
                *told = Told {
                    worker,
                    scheduled_at: Some(at),
                    ..Told::default()
                };
            }
            Event::TaskStarted(_) => told.started_at = Some(at),
            Event::TaskCompleted(_) => told.finished_at = Some(at),
            Event::TaskFailed(failed) => {
                told.finished_at = Some(at);
                told.failure = Some(Box::new(failed.failure.clone()));
            }
            _ => {}
        }
    }

    pub fn task(&self, number: u32) -> Option<TaskRow> {
        let (task, told) = (self.job.task(number)?, self.told.get(number as usize - 1)?);
        let due = task.timer().filter(|_| task.retry_pending()).map(|(due, _)| due);
        Some(TaskRow {
            state: task.state().name().to_owned(),
            attempt: i64::from(task.attempt().0),
            retry_count: i64::from(task.retries_used()),
            next_retry_at: due,
            worker: told.worker.clone(),
            scheduled_at: told.scheduled_at,
            started_at: told.started_at,
            finished_at: told.finished_at,
            reason: task.reason().map(|reason| reason.name().to_owned()),
            failure: told.failure.as_deref().map(failure_json),
        })
    }

    pub fn row(&self, shard: ShardId) -> JobRow {
        let (spec, counters) = (self.job.spec(), self.job.counters());
        let count = |count: u32| i64::from(count);
        let mut counts = vec![
            count(counters.ready),
            count(counters.scheduled),
            count(counters.running),
            count(counters.completed),
            count(counters.failed),
            count(counters.retries_pending),
        ];
        counts.extend(counters.finally_failed.map(count));
        let status: JobStatus = counters.status();
        JobRow {
            shard: i64::from(shard.0),
            external_id: spec.external_id.as_deref().map(stored),
            labels: spec.labels.clone(),
            document_hash: spec.document_hash.clone(),
            principal: self.principal.clone(),
            task_count: count(spec.task_count),
            max_parallel: spec.max_parallel.map(count),
            deadline: self.job.deadline().map(|(due, _)| due),
            created_at: self.job.submitted_at(),
            finished_at: self.finished_at,
            counts,
            status: status.name().to_owned(),
            seq: self.seq,
        }
    }
}

/// As it can be stored: Postgres has no U+0000.
fn stored(text: &str) -> String {
    text.chars()
        .map(|char| {
            if char == '\0' {
                char::REPLACEMENT_CHARACTER
            } else {
                char
            }
        })
        .collect()
}

fn failure_json(failure: &Failure) -> serde_json::Value {
    let mut value = serde_json::to_value(failure).unwrap_or_default();
    clean(&mut value);
    value
}

fn clean(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = stored(text),
        serde_json::Value::Array(values) => values.iter_mut().for_each(clean),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(clean),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// A worker's row.
#[derive(Clone, Debug)]
pub struct ExpectedWorker(WorkerRow);

impl ExpectedWorker {
    /// `some_days_retired`: its first registration may have gone with them.
    pub fn differences(&self, row: &WorkerRow, some_days_retired: bool) -> Differing {
        let mut expected = self.0.clone();
        if some_days_retired {
            expected.created_at = row.created_at;
        }
        expected.differences(row)
    }
}

pub fn take_worker(workers: &mut BTreeMap<String, ExpectedWorker>, seq: Seq, record: &EventRecord) {
    let at = record.meta.at;
    match &record.event {
        Event::WorkerRegistered(registered) => {
            let name = registered.worker.as_str().to_owned();
            let created_at = workers
                .get(&name)
                .map_or(at, |ExpectedWorker(before)| before.created_at);
            let row = WorkerRow {
                incarnation: registered.incarnation.0,
                endpoint_url: stored(&registered.endpoint_url),
                max_capacity: i64::from(registered.max_capacity),
                labels: registered
                    .labels
                    .iter()
                    .map(|(name, value)| (stored(name), stored(value)))
                    .collect(),
                registered_at: at,
                created_at,
                left_at: None,
                left_cause: None,
                cordoned: false,
                draining: false,
                seq,
            };
            workers.insert(name, ExpectedWorker(row));
        }
        Event::WorkerLeft(left) => {
            let incarnation: Uuid = left.incarnation.0;
            let known = workers.get_mut(left.worker.as_str());
            if let Some(ExpectedWorker(row)) = known.filter(|known| known.0.incarnation == incarnation) {
                row.left_at = Some(at);
                row.left_cause = Some(
                    match left.cause {
                        WorkerEnd::Drained => "DRAINED",
                        WorkerEnd::Lost => "LOST",
                        WorkerEnd::Superseded => "SUPERSEDED",
                    }
                    .to_owned(),
                );
                row.seq = seq;
            }
        }
        Event::WorkerCordoned(event) => stands(workers, seq, (&event.worker, event.incarnation), |row| {
            row.cordoned = true
        }),
        Event::WorkerUncordoned(event) => {
            stands(workers, seq, (&event.worker, event.incarnation), |row| {
                row.cordoned = false
            });
        }
        Event::WorkerDrainRequested(event) => {
            stands(workers, seq, (&event.worker, event.incarnation), |row| {
                row.draining = true
            });
        }
        _ => {}
    }
}

fn stands(
    workers: &mut BTreeMap<String, ExpectedWorker>,
    seq: Seq,
    (name, incarnation): (&WorkerName, Incarnation),
    change: fn(&mut WorkerRow),
) {
    let known = workers.get_mut(name.as_str());
    if let Some(ExpectedWorker(row)) = known.filter(|known| known.0.incarnation == incarnation.0) {
        change(row);
        row.seq = seq;
    }
}
