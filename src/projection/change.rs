//! Events as changes of rows: everything that happened to a row between two writes becomes one write.
//!
//! Must stay true: what an event moves is read from the event alone, never from what the row held before, so a change
//! can be made without reading the database; what a change does not know, the row keeps.

mod counted;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

pub use self::counted::{BLOCK_TASKS, CounterDeltas, add, block_of};

use crate::domain::event::{
    Budget, Event, Failure, FailureReason, JobSubmitted, ReadyCause, StreamId, TaskFailed, TaskState, WorkerEnd,
    WorkerRegistered,
};
use crate::domain::{Incarnation, JobId, JobSpec, Labels, Seq, ShardId, TaskId, Timestamp, WorkerName};
use crate::event::{EventRecord, Meta};

/// A job's row as its first event makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    pub external_id: Option<String>,
    /// JSON object.
    pub labels: String,
    pub document_hash: String,
    pub principal: String,
    pub task_count: u32,
    pub max_parallel: Option<u32>,
    pub created_at: Timestamp,
    /// The whole [`crate::domain::JobSpec`] as JSON.
    pub spec: String,
    /// The labels again, one by one.
    pub label_pairs: Vec<(String, String)>,
    pub task_names: Vec<TaskName>,
}

/// The tasks of one name, which have neighbouring numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskName {
    pub name: String,
    pub first_number: u32,
    pub replicas: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobChange {
    pub shard: ShardId,
    /// The row is new.
    pub new: Option<Box<NewJob>>,
    pub counters: CounterDeltas,
    /// How the states of its blocks of tasks move. They have rows only when the job has more than [`BLOCK_TASKS`].
    pub blocks: BTreeMap<u32, [i32; 5]>,
    /// `Some`: set to this; `None`: kept.
    pub finished_at: Option<Option<Timestamp>>,
    pub deadline: Option<Option<Timestamp>>,
    pub seq: Seq,
}

/// A task's row. `state` and `next_retry_at` are always known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskChange {
    pub shard: ShardId,
    /// The row is new: what is not known is absent, or 0.
    pub new: bool,
    /// What of the row tells of an attempt starts anew: what is not known is cleared rather than kept.
    pub cleared: bool,
    pub state: TaskState,
    pub next_retry_at: Option<Timestamp>,
    pub attempt: Option<u32>,
    pub retry_count: Option<u16>,
    pub told: AttemptRow,
}

/// What a row tells of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptRow {
    pub worker: Option<WorkerName>,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub reason: Option<FailureReason>,
    pub failure: Option<Box<Failure>>,
}

/// An attempt that a later one supersedes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupersededAttempt {
    pub shard: ShardId,
    pub task: TaskId,
    /// Part of it is in the task's row, written earlier: what is not known here is taken from there.
    pub complete_from_row: bool,
    pub attempt: Option<u32>,
    pub told: AttemptRow,
}

/// A worker's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerChange {
    pub shard: ShardId,
    pub incarnation: Incarnation,
    /// A process of this name has registered; the first of them in this change was at `first_registered_at`.
    pub registered: Option<Box<RegisteredWorker>>,
    pub left: Option<(Timestamp, WorkerEnd)>,
    /// `None`: kept; false when a process registers, until it is said otherwise.
    pub cordoned: Option<bool>,
    /// Likewise: the process was told to finish and leave.
    pub draining: Option<bool>,
    pub seq: Seq,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredWorker {
    pub endpoint_url: String,
    pub max_capacity: u32,
    /// JSON object.
    pub labels: String,
    pub registered_at: Timestamp,
    pub first_registered_at: Timestamp,
}

/// Changes of rows, gathered.
#[derive(Debug, Default)]
pub struct Changes {
    pub jobs: HashMap<JobId, JobChange>,
    pub tasks: HashMap<TaskId, TaskChange>,
    pub attempts: Vec<SupersededAttempt>,
    pub workers: HashMap<WorkerName, WorkerChange>,
}

impl Changes {
    /// How many rows would be written.
    pub fn rows(&self) -> usize {
        self.jobs.len() + self.tasks.len() + self.attempts.len() + self.workers.len()
    }

    /// Takes in one event of the log.
    pub fn apply(&mut self, shard: ShardId, seq: Seq, record: &EventRecord) {
        match record.stream {
            StreamId::Job(job) => self.apply_to_job(shard, seq, job, &record.meta, &record.event),
            StreamId::Task(task) => self.apply_to_task(shard, seq, task, record),
            StreamId::Worker(_) => self.apply_to_worker(shard, seq, record.meta.at, &record.event),
        }
    }

    /// Forgets what was gathered of one shard.
    pub fn forget(&mut self, shard: ShardId) {
        self.jobs.retain(|_, change| change.shard != shard);
        self.tasks.retain(|_, change| change.shard != shard);
        self.attempts.retain(|change| change.shard != shard);
        self.workers.retain(|_, change| change.shard != shard);
    }

    /// Takes out what was gathered of one shard.
    pub fn split_off(&mut self, shard: ShardId) -> Self {
        let (attempts, others) = std::mem::take(&mut self.attempts)
            .into_iter()
            .partition(|it| it.shard == shard);
        self.attempts = others;
        Self {
            jobs: self.jobs.extract_if(|_, change| change.shard == shard).collect(),
            tasks: self.tasks.extract_if(|_, change| change.shard == shard).collect(),
            attempts,
            workers: self.workers.extract_if(|_, change| change.shard == shard).collect(),
        }
    }

    fn job(&mut self, shard: ShardId, seq: Seq, job: JobId) -> &mut JobChange {
        let change = self.jobs.entry(job).or_insert_with(|| JobChange {
            shard,
            new: None,
            counters: CounterDeltas::default(),
            blocks: BTreeMap::new(),
            finished_at: None,
            deadline: None,
            seq,
        });
        change.seq = seq;
        change
    }

    fn apply_to_job(&mut self, shard: ShardId, seq: Seq, job: JobId, meta: &Meta, event: &Event) {
        let change = self.job(shard, seq, job);
        match event {
            Event::JobSubmitted(submitted) => {
                change.new = Some(Box::new(new_job(submitted, meta)));
                let tasks = submitted.spec.task_count;
                change.counters.states[TaskState::Ready as usize] += tasks as i32;
                if tasks > BLOCK_TASKS {
                    for block in 0..=block_of(tasks) {
                        let ready = BLOCK_TASKS.min(tasks - block * BLOCK_TASKS);
                        add(change.blocks.entry(block).or_default(), &[ready as i32, 0, 0, 0, 0]);
                    }
                }
                change.deadline = Some(submitted.deadline_at);
            }
            Event::JobRetryRequested(retry) => {
                change.finished_at = Some(None);
                change.deadline = Some(retry.deadline_at);
            }
            Event::JobFinished(_) => change.finished_at = Some(Some(meta.at)),
            Event::JobKillRequested(_)
            | Event::JobStopRequested(_)
            | Event::JobDeadlineReached(_)
            | Event::FanOutAdvanced(_)
            | Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::TaskFailed(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_)
            | Event::WorkerRegistered(_)
            | Event::WorkerLeft(_)
            | Event::WorkerCordoned(_)
            | Event::WorkerUncordoned(_)
            | Event::WorkerDrainRequested(_) => {}
        }
    }

    fn apply_to_task(&mut self, shard: ShardId, seq: Seq, task: TaskId, record: &EventRecord) {
        let deltas = counted::count(&record.event);
        let job = self.job(shard, seq, task.job);
        job.counters.add(&deltas);
        add(job.blocks.entry(block_of(task.number)).or_default(), &deltas.states);
        let at = record.meta.at;
        let change = match self.tasks.entry(task) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // Changes nothing of a row: whether the attempt is still open is not among what is shown.
                let Some(change) = TaskChange::first(shard, record) else {
                    return;
                };
                entry.insert(change)
            }
        };
        match &record.event {
            Event::TaskReady(ready) => {
                if ready.cause != ReadyCause::Submission {
                    self.attempts.extend(change.supersede(task));
                }
                change.begin(TaskState::Ready);
                if matches!(ready.cause, ReadyCause::JobRetry { .. }) {
                    change.retry_count = Some(0);
                }
            }
            Event::TaskScheduled(scheduled) => {
                change.begin(TaskState::Scheduled);
                change.attempt = Some(scheduled.attempt.0);
                change.told.worker = Some(scheduled.worker.clone());
                change.told.scheduled_at = Some(at);
            }
            Event::TaskStarted(started) => {
                change.go_on(TaskState::Running, None);
                change.attempt = Some(started.attempt.0);
                change.told.started_at = Some(at);
            }
            Event::TaskCompleted(completed) => {
                change.go_on(TaskState::Completed, None);
                change.attempt = Some(completed.attempt.0);
                change.told.finished_at = Some(at);
            }
            Event::TaskFailed(failed) => change.fail(failed, at),
            Event::RetryScheduled(retry) => {
                change.go_on(TaskState::Failed, Some(retry.due_at));
                if retry.budget == Budget::Retries {
                    change.retry_count = Some(retry.retry);
                }
            }
            Event::RetryCancelled(cancelled) => {
                change.go_on(TaskState::Failed, None);
                change.told.reason = Some(cancelled.reason);
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
    }

    fn apply_to_worker(&mut self, shard: ShardId, seq: Seq, at: Timestamp, event: &Event) {
        match event {
            Event::WorkerRegistered(registered) => {
                let first = self
                    .workers
                    .get(&registered.worker)
                    .and_then(|change| change.registered.as_deref());
                let first_registered_at = first.map_or(at, |registered| registered.first_registered_at);
                let change = WorkerChange {
                    shard,
                    incarnation: registered.incarnation,
                    registered: Some(Box::new(registered_worker(registered, at, first_registered_at))),
                    left: None,
                    cordoned: Some(false),
                    draining: Some(false),
                    seq,
                };
                self.workers.insert(registered.worker.clone(), change);
            }
            Event::WorkerLeft(left) => {
                if let Some(change) = self.worker(shard, seq, &left.worker, left.incarnation) {
                    change.left = Some((at, left.cause));
                }
            }
            Event::WorkerCordoned(event) => {
                if let Some(change) = self.worker(shard, seq, &event.worker, event.incarnation) {
                    change.cordoned = Some(true);
                }
            }
            Event::WorkerUncordoned(event) => {
                if let Some(change) = self.worker(shard, seq, &event.worker, event.incarnation) {
                    change.cordoned = Some(false);
                }
            }
            Event::WorkerDrainRequested(event) => {
                if let Some(change) = self.worker(shard, seq, &event.worker, event.incarnation) {
                    change.draining = Some(true);
                }
            }
            Event::JobSubmitted(_)
            | Event::JobKillRequested(_)
            | Event::JobStopRequested(_)
            | Event::JobRetryRequested(_)
            | Event::JobDeadlineReached(_)
            | Event::FanOutAdvanced(_)
            | Event::JobFinished(_)
            | Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::TaskFailed(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_) => {}
        }
    }

    /// The change of a worker's row; `None`: a newer process has replaced this one, of which nothing is said by that.
    fn worker(
        &mut self,
        shard: ShardId,
        seq: Seq,
        name: &WorkerName,
        incarnation: Incarnation,
    ) -> Option<&mut WorkerChange> {
        let change = self.workers.entry(name.clone()).or_insert(WorkerChange {
            shard,
            incarnation,
            registered: None,
            left: None,
            cordoned: None,
            draining: None,
            seq,
        });
        if change.incarnation != incarnation {
            return None;
        }
        change.seq = seq;
        Some(change)
    }
}

impl JobChange {
    pub fn new_row(&self) -> Option<&NewJob> {
        self.new.as_deref()
    }
}

impl TaskChange {
    /// A change that knows nothing yet; `None` when the event changes no row.
    fn first(shard: ShardId, record: &EventRecord) -> Option<Self> {
        let state = match &record.event {
            Event::AttemptEnded(_) => return None,
            Event::TaskFailed(_) | Event::RetryScheduled(_) | Event::RetryCancelled(_) => TaskState::Failed,
            Event::TaskScheduled(_) => TaskState::Scheduled,
            Event::TaskStarted(_) => TaskState::Running,
            Event::TaskCompleted(_) => TaskState::Completed,
            Event::TaskReady(_)
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
            | Event::WorkerDrainRequested(_) => TaskState::Ready,
        };
        let new = record.version == 1;
        Some(Self {
            shard,
            new,
            cleared: new,
            state,
            next_retry_at: None,
            attempt: None,
            retry_count: None,
            told: AttemptRow::default(),
        })
    }

    fn begin(&mut self, state: TaskState) {
        self.state = state;
        self.next_retry_at = None;
        self.cleared = true;
        self.told = AttemptRow::default();
    }

    fn go_on(&mut self, state: TaskState, next_retry_at: Option<Timestamp>) {
        self.state = state;
        self.next_retry_at = next_retry_at;
    }

    fn fail(&mut self, failed: &TaskFailed, at: Timestamp) {
        self.go_on(TaskState::Failed, None);
        self.attempt = Some(failed.attempt.0);
        self.told.finished_at = Some(at);
        self.told.reason = Some(failed.failure.reason);
        self.told.failure = Some(Box::new(storable_failure(&failed.failure)));
    }

    /// The attempt that ends here, as far as it is known; `None` when there surely was none.
    fn supersede(&mut self, task: TaskId) -> Option<SupersededAttempt> {
        let complete_from_row = !self.cleared;
        if !complete_from_row && self.told.scheduled_at.is_none() {
            return None;
        }
        let told = std::mem::take(&mut self.told);
        Some(SupersededAttempt {
            shard: self.shard,
            task,
            complete_from_row,
            attempt: self.attempt,
            told,
        })
    }
}

fn new_job(submitted: &JobSubmitted, meta: &Meta) -> NewJob {
    let spec = &submitted.spec;
    NewJob {
        external_id: spec.external_id.as_deref().map(storable),
        labels: storable_labels(&spec.labels),
        document_hash: storable(&spec.document_hash),
        principal: storable(&meta.principal),
        task_count: spec.task_count,
        max_parallel: spec.max_parallel,
        created_at: meta.at,
        spec: to_json(spec),
        label_pairs: spec
            .labels
            .iter()
            .map(|(name, value)| (storable(name), storable(value)))
            .collect(),
        task_names: task_names(spec),
    }
}

fn task_names(spec: &JobSpec) -> Vec<TaskName> {
    let mut next = 1;
    spec.groups
        .iter()
        .map(|group| {
            let first_number = next;
            next += group.replicas;
            TaskName {
                name: storable(&group.external_id),
                first_number,
                replicas: group.replicas,
            }
        })
        .collect()
}

fn registered_worker(registered: &WorkerRegistered, at: Timestamp, first_registered_at: Timestamp) -> RegisteredWorker {
    RegisteredWorker {
        endpoint_url: storable(&registered.endpoint_url),
        max_capacity: registered.max_capacity,
        labels: storable_labels(&registered.labels),
        registered_at: at,
        first_registered_at,
    }
}

/// JSON of a type that has string keys and finite numbers only, so that writing it cannot fail.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Text as Postgres can hold it: it has no U+0000.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What a program wrote may hold anything.
pub fn storable_failure(failure: &Failure) -> Failure {
    let all = |texts: &[String]| texts.iter().map(|text| storable(text)).collect();
    Failure {
        reason: failure.reason,
        message: storable(&failure.message),
        causes: all(&failure.causes),
        exit_code: failure.exit_code,
        last_log_lines: all(&failure.last_log_lines),
    }
}

/// Labels as a JSON object that Postgres can hold.
pub(super) fn storable_labels(labels: &Labels) -> String {
    to_json(
        &labels
            .iter()
            .map(|(name, value)| (storable(name), storable(value)))
            .collect::<Labels>(),
    )
}
