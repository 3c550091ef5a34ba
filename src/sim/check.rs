//! What must hold, checked with code of its own: nothing here folds a job by the domain's `apply`.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::{Budget, ReadyCause};
use crate::domain::{Attempt, Event, FailureReason, Incarnation, JobId, ShardId, StreamId, TaskId, Timestamp};
use crate::event::{AssignmentItem, AssignmentMessage, AttemptRef, Command, EventRecord, Grant, ReportKind};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Scheduled,
    Running,
    Completed,
    Failed,
}

#[derive(Clone, Debug)]
struct Task {
    state: State,
    attempt: u32,
    due: Option<Timestamp>,
    retry: Option<Timestamp>,
    is_final: bool,
    open: bool,
    scheduled_on: Option<Incarnation>,
}

/// A view of the log and of what left the processes, and what was wrong with it.
#[derive(Default)]
pub struct Checker {
    versions: BTreeMap<StreamId, u32>,
    tasks: BTreeMap<TaskId, Task>,
    jobs: BTreeMap<JobId, u32>,
    finished: BTreeSet<JobId>,
    last_at: BTreeMap<ShardId, Timestamp>,
    scheduled: BTreeSet<(AttemptRef, Incarnation)>,
    started: BTreeSet<AttemptRef>,
    ended: BTreeSet<AttemptRef>,
    running: BTreeMap<TaskId, Vec<(Incarnation, Attempt)>>,
    /// Attempts that were begun, ever.
    begun: BTreeSet<AttemptRef>,
    /// Commands of clients that have events.
    commands: BTreeSet<Uuid>,
    /// Jobs that were to end, or did, at some time; and those that were tried again.
    once_ended: BTreeSet<JobId>,
    once_retried: BTreeSet<JobId>,
    registered: BTreeSet<Incarnation>,
    /// Processes that began cordoned, and are so since.
    cordoned_from_birth: BTreeSet<Incarnation>,
    /// By worker and jobmaster: credits granted, and credits used.
    credits: BTreeMap<(Incarnation, Incarnation), (u64, u64)>,
    pub wrong: Vec<String>,
    pub completed_tasks: u64,
}

impl Checker {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Events as they came into the log.
    pub fn committed(&mut self, shard: ShardId, events: &[EventRecord]) {
        for record in events {
            let last = self.last_at.entry(shard).or_default();
            if record.meta.at < *last {
                let what = format!("time runs backwards in shard {shard}: {record:?}");
                self.wrong.push(what);
            } else {
                *last = record.meta.at;
            }
            let version = self.versions.entry(record.stream).or_default();
            *version += 1;
            if record.version != *version {
                let what = format!("version {} where {version} comes next: {record:?}", record.version);
                self.wrong(what);
            }
            self.commands.extend(record.meta.command);
            match record.stream {
                StreamId::Job(job) => self.job_event(job, record),
                StreamId::Task(task) => self.task_event(task, record),
                StreamId::Worker(incarnation) => self.worker_event(incarnation, &record.event),
            }
        }
    }

    fn worker_event(&mut self, incarnation: Incarnation, event: &Event) {
        match event {
            Event::WorkerRegistered(_) => {
                self.registered.insert(incarnation);
            }
            Event::WorkerCordoned(cordoned) if cordoned.inherited => {
                self.cordoned_from_birth.insert(incarnation);
            }
            Event::WorkerUncordoned(_) => {
                self.cordoned_from_birth.remove(&incarnation);
            }
            _ => {}
        }
    }

    fn job_event(&mut self, job: JobId, record: &EventRecord) {
        match &record.event {
            Event::JobSubmitted(submitted) => {
                let earlier = self.jobs.insert(job, submitted.spec.task_count);
                if earlier.is_some() {
                    self.wrong(format!("{job} was submitted twice"));
                }
            }
            Event::JobFinished(_) => {
                let unfinished = self.unfinished(job);
                if unfinished > 0 {
                    self.wrong(format!("{job} is called finished with {unfinished} unfinished tasks"));
                }
                self.finished.insert(job);
                self.once_ended.insert(job);
            }
            Event::JobRetryRequested(_) => {
                self.finished.remove(&job);
                self.once_retried.insert(job);
            }
            Event::JobKillRequested(_) | Event::JobStopRequested(_) | Event::JobDeadlineReached(_) => {
                self.once_ended.insert(job);
            }
            _ => {}
        }
    }

    fn unfinished(&self, job: JobId) -> u32 {
        let count = self.jobs.get(&job).copied().unwrap_or(0);
        (1..=count)
            .filter(|number| !self.is_finished(TaskId { job, number: *number }))
            .count() as u32
    }

    fn is_finished(&self, task: TaskId) -> bool {
        self.tasks
            .get(&task)
            .is_some_and(|task| task.state == State::Completed || (task.state == State::Failed && task.is_final))
    }

    fn task_event(&mut self, id: TaskId, record: &EventRecord) {
        let before = self.tasks.get(&id).cloned();
        match next(before.as_ref(), record) {
            Ok(after) => {
                self.note(id, record);
                self.completed_tasks += u64::from(after.state == State::Completed);
                self.tasks.insert(id, after);
            }
            Err(why) => self.wrong(format!("{id}: {why}; it was {before:?}; {record:?}")),
        }
    }

    fn note(&mut self, task: TaskId, record: &EventRecord) {
        let at = |attempt| AttemptRef { task, attempt };
        match &record.event {
            Event::TaskScheduled(scheduled) => {
                let attempt = at(scheduled.attempt);
                let mut earlier = self.scheduled.range((attempt, Incarnation(Uuid::nil()))..);
                if earlier.next().is_some_and(|(other, _)| *other == attempt) {
                    self.wrong(format!("{task}: attempt {} is used again", scheduled.attempt));
                }
                self.scheduled.insert((attempt, scheduled.incarnation));
            }
            Event::TaskStarted(started) => {
                self.started.insert(at(started.attempt));
            }
            Event::TaskCompleted(completed) => {
                self.ended.insert(at(completed.attempt));
            }
            Event::TaskFailed(failed) if !failed.attempt_open => {
                self.ended.insert(at(failed.attempt));
            }
            Event::AttemptEnded(ended) => {
                self.ended.insert(at(ended.attempt));
            }
            _ => {}
        }
    }

    /// A client, or a worker, is told that its wish was granted: the log knows of it.
    pub fn accepted(&mut self, id: Uuid, command: &Command) {
        let itself = self.commands.contains(&id);
        let known = match command {
            Command::SubmitJob { job, .. } => self.jobs.contains_key(job),
            Command::KillJob { job } | Command::StopJob { job } => itself || self.once_ended.contains(job),
            Command::RetryJob { job } => itself || self.once_retried.contains(job),
            Command::CancelRetry { .. } => itself,
            Command::RegisterWorker { registration } => self.registered.contains(&registration.incarnation),
            // One that is due anyway need not be brought forward; one that is gone need not be removed.
            Command::BringForwardRetry { .. } | Command::RemoveWorker { .. } => true,
            // One that stands so already need not be told.
            Command::CordonWorker { .. } | Command::UncordonWorker { .. } | Command::DrainWorker { .. } => true,
        };
        if !known {
            self.wrong(format!("{id} was answered and is not in the log: {command:?}"));
        }
    }

    /// A message to a worker leaves a shard.
    pub fn sent(&mut self, message: &AssignmentMessage) {
        let incarnation = message.incarnation;
        for item in &message.items {
            match item {
                AssignmentItem::Assign { assignment } => {
                    self.assigned(assignment.attempt, incarnation);
                    if assignment.charged {
                        self.charged(incarnation, message.jobmaster);
                    }
                }
                AssignmentItem::Ack { kind, attempts } => {
                    for attempt in attempts {
                        self.acknowledged(*kind, *attempt, incarnation);
                    }
                }
                AssignmentItem::Registered { .. } => {
                    if !self.registered.contains(&incarnation) {
                        self.wrong(format!(
                            "{incarnation} is told that it is registered, which is not in the log"
                        ));
                    }
                }
                AssignmentItem::Cancel { .. }
                | AssignmentItem::Stop { .. }
                | AssignmentItem::Standing { .. }
                | AssignmentItem::Superseded {}
                | AssignmentItem::Removed {} => {}
            }
        }
    }

    fn charged(&mut self, worker: Incarnation, jobmaster: Incarnation) {
        let (granted, used) = self.credits.entry((worker, jobmaster)).or_default();
        *used += 1;
        if used > granted {
            let what = format!("{jobmaster} has used {used} credits of {worker}, which has granted {granted}");
            self.wrong.push(what);
        }
    }

    /// A worker says what it grants: that only rises.
    pub fn granted(&mut self, worker: Incarnation, grants: &[Grant]) {
        for grant in grants {
            let (granted, _) = self.credits.entry((worker, grant.jobmaster)).or_default();
            if grant.granted < *granted {
                let what = format!("{worker} takes credits back: {grant:?} after {granted}");
                self.wrong.push(what);
            }
            *granted = grant.granted.max(*granted);
        }
    }

    fn assigned(&mut self, attempt: AttemptRef, incarnation: Incarnation) {
        if !self.scheduled.contains(&(attempt, incarnation)) {
            self.wrong(format!("{attempt:?} was sent to {incarnation} and is not in the log"));
        }
    }

    fn acknowledged(&mut self, kind: ReportKind, attempt: AttemptRef, incarnation: Incarnation) {
        // Only the process that has the attempt says something about it; to others an acknowledgement means "forget it".
        if !self.scheduled.contains(&(attempt, incarnation)) {
            return;
        }
        let superseded = self
            .tasks
            .get(&attempt.task)
            .is_some_and(|task| task.attempt > attempt.attempt.0);
        let known = match kind {
            ReportKind::Started => {
                let over = self
                    .tasks
                    .get(&attempt.task)
                    .is_some_and(|task| task.state != State::Scheduled);
                self.started.contains(&attempt) || over
            }
            ReportKind::Ended => self.ended.contains(&attempt),
        };
        if !known && !superseded {
            self.wrong(format!(
                "{kind:?} of {attempt:?} was acknowledged and is not in the log"
            ));
        }
    }

    /// A worker begins to run an attempt.
    pub fn runs(&mut self, attempt: AttemptRef, incarnation: Incarnation) {
        if !self.scheduled.contains(&(attempt, incarnation)) {
            self.wrong(format!("{incarnation} runs {attempt:?}, which is not in the log"));
        }
        if self.cordoned_from_birth.contains(&incarnation) {
            self.wrong(format!(
                "{incarnation} runs {attempt:?} and has been cordoned since it began"
            ));
        }
        if !self.begun.insert(attempt) {
            self.wrong(format!("{incarnation} runs {attempt:?} again"));
        }
        let running = self.running.entry(attempt.task).or_default();
        running.push((incarnation, attempt.attempt));
        if running.len() > 1 {
            let what = format!("{} runs twice: {running:?}", attempt.task);
            self.wrong(what);
        }
    }

    /// It does not run any more.
    pub fn rests(&mut self, attempt: AttemptRef, incarnation: Incarnation) {
        if let Some(running) = self.running.get_mut(&attempt.task) {
            running.retain(|(of, number)| (*of, *number) != (incarnation, attempt.attempt));
        }
    }

    /// A worker process is dead, with all that it ran.
    pub fn died(&mut self, incarnation: Incarnation) {
        self.running
            .values_mut()
            .for_each(|running| running.retain(|(of, _)| *of != incarnation));
    }

    /// Whether everything has come to its end.
    pub fn is_quiet(&self) -> bool {
        self.jobs.keys().all(|job| self.finished.contains(job)) && self.tasks.values().all(|task| !task.open)
    }

    /// What has not come to its end, when it should have.
    pub fn unfinished_jobs(&self) -> Vec<String> {
        let jobs = self.jobs.keys().filter(|job| !self.finished.contains(job));
        let open = self.tasks.iter().filter(|(_, task)| task.open);
        let describe = |job: &JobId| {
            let tasks: Vec<_> = self
                .tasks
                .iter()
                .filter(|(id, _)| id.job == *job && !self.is_finished(**id))
                .collect();
            format!("{job} has not finished: {tasks:?}")
        };
        jobs.map(describe)
            .chain(open.map(|(id, task)| format!("{id} has an open attempt: {task:?}")))
            .collect()
    }

    /// Tasks with a retry pending.
    pub fn pending_retries(&self) -> Vec<TaskId> {
        let pending = |task: &Task| task.state == State::Failed && task.retry.is_some();
        let tasks = self.tasks.iter().filter(|(_, task)| pending(task));
        tasks.map(|(id, _)| *id).collect()
    }

    pub fn has_job(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }
}

fn next(before: Option<&Task>, record: &EventRecord) -> Result<Task, String> {
    let fresh = Task {
        state: State::Ready,
        attempt: 0,
        due: None,
        retry: None,
        is_final: false,
        open: false,
        scheduled_on: None,
    };
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let at = record.meta.at;
    let mut task = before.cloned().unwrap_or(fresh);
    match &record.event {
        Event::TaskReady(ready) => {
            match ready.cause {
                ReadyCause::Submission => must(before.is_none(), "ready by submission, again")?,
                ReadyCause::Retry { .. } => {
                    must(task.state == State::Failed, "retried but not failed")?;
                    let due = task.retry.ok_or("retried without a pending retry")?;
                    must(at >= due, "retried too early")?;
                }
                ReadyCause::HandedBack => must(task.state == State::Failed && !task.is_final, "not handed back")?,
                ReadyCause::JobRetry { .. } => must(task.state == State::Failed && task.is_final, "not final")?,
            }
            task.state = State::Ready;
            (task.retry, task.is_final) = (None, false);
        }
        Event::TaskScheduled(scheduled) => {
            must(
                before.is_some() && task.state == State::Ready,
                "scheduled but not ready",
            )?;
            must(!task.open, "scheduled while the earlier attempt may run")?;
            must(
                scheduled.attempt.0 == task.attempt + 1,
                "the attempt does not rise by one",
            )?;
            task.state = State::Scheduled;
            task.attempt = scheduled.attempt.0;
            task.due = scheduled.start_by;
            task.scheduled_on = Some(scheduled.incarnation);
        }
        Event::TaskStarted(started) => {
            must(
                task.state == State::Scheduled && started.attempt.0 == task.attempt,
                "started but not scheduled",
            )?;
            task.state = State::Running;
            task.due = started.run_by;
        }
        Event::TaskCompleted(completed) => {
            must(
                task.state == State::Running && completed.attempt.0 == task.attempt,
                "completed but not running",
            )?;
            task.state = State::Completed;
        }
        Event::TaskFailed(failed) => {
            must(
                matches!(task.state, State::Ready | State::Scheduled | State::Running),
                "failed from its end",
            )?;
            let timer = failed.failure.reason == FailureReason::Timeout && !failed.r#final;
            if timer {
                must(task.due.is_some_and(|due| at >= due), "timed out too early")?;
            }
            task.state = State::Failed;
            task.is_final = failed.r#final;
            task.open = failed.attempt_open;
        }
        Event::RetryScheduled(retry) => {
            must(
                task.state == State::Failed && !task.is_final,
                "a retry of what is final",
            )?;
            must(
                (retry.budget == Budget::Paid) == task.retry.is_some(),
                "a retry beside a retry",
            )?;
            task.retry = Some(retry.due_at);
        }
        Event::RetryCancelled(_) => {
            must(
                task.state == State::Failed && task.retry.is_some(),
                "no retry to cancel",
            )?;
            (task.retry, task.is_final) = (None, true);
        }
        Event::AttemptEnded(ended) => {
            must(task.open && ended.attempt.0 == task.attempt, "no open attempt")?;
            task.open = false;
        }
        other => return Err(format!("{} is no event of a task", other.type_name())),
    }
    Ok(task)
}
