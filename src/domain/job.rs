//! A job: what it was told, its tasks, its counters; and how facts change it.
//!
//! Must stay true: `apply` never chooses and never fails on what `decide` made; the counters always sum to the number
//! of tasks; folding the facts of the log from the first one gives the same job as living through them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::event::{Budget, Event, JobSubmitted, ReadyCause, TaskState};
use super::ready::{NextReady, ReadyQueues};
use super::task::{Flag, IllegalTransition, TaskRecord, next_state};
use super::{
    Attempt, Counters, GroupIndex, Incarnation, JobId, JobSpec, JobStatus, Policy, TaskId, TaskPlace, Timestamp,
    WorkerName,
};

/// How many client commands a job remembers, so that one that arrives again gets the same answer.
pub const REMEMBERED_COMMANDS: usize = 64;

/// One event as the fold needs it.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// 0: the job itself.
    pub task: u32,
    pub version: u32,
    pub at: Timestamp,
    /// The client command that caused it.
    pub command: Option<Uuid>,
    pub event: &'a Event,
}

/// What follows for the tasks of a job from one request, written in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanOut {
    pub kind: FanOutKind,
    /// Version of the request in the job's stream: its identity.
    pub request: u32,
    /// The first task not looked at yet.
    pub next_task: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanOutKind {
    Submission,
    Kill,
    Stop,
    Deadline,
    Retry,
}

impl FanOutKind {
    /// Whether it ends the tasks rather than begins them.
    pub const fn ends_tasks(self) -> bool {
        match self {
            Self::Kill | Self::Stop | Self::Deadline => true,
            Self::Submission | Self::Retry => false,
        }
    }
}

/// A job in memory.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) id: JobId,
    pub(super) version: u32,
    pub(super) spec: Arc<JobSpec>,
    pub(super) index: GroupIndex,
    pub(super) submitted_at: Timestamp,
    pub(super) deadline: Option<(Timestamp, u32)>,
    /// Those written out, by number; the others are implied READY.
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) workers: Vec<(WorkerName, Incarnation)>,
    pub(super) worker_index: HashMap<Incarnation, u32>,
    pub(super) counters: Counters,
    pub(super) fan_outs: VecDeque<FanOut>,
    pub(super) stopping: bool,
    pub(super) finished: Option<JobStatus>,
    /// SCHEDULED, RUNNING, or with an open attempt.
    pub(super) active: HashSet<u32>,
    pub(super) ready: ReadyQueues,
    pub(super) commands: VecDeque<Uuid>,
}

impl Job {
    /// The job that its first event makes.
    pub fn submitted(id: JobId, submitted: &JobSubmitted, at: Timestamp, command: Option<Uuid>) -> Self {
        let spec = Arc::new(submitted.spec.clone());
        let mut fan_outs = VecDeque::new();
        if spec.task_count > 0 {
            fan_outs.push_back(FanOut {
                kind: FanOutKind::Submission,
                request: 1,
                next_task: 1,
            });
        }
        Self {
            id,
            version: 1,
            index: GroupIndex::new(&spec),
            submitted_at: at,
            deadline: submitted.deadline_at.map(|due| (due, 1)),
            tasks: Vec::new(),
            workers: Vec::new(),
            worker_index: HashMap::new(),
            counters: Counters {
                ready: spec.task_count,
                ..Counters::default()
            },
            fan_outs,
            stopping: false,
            finished: None,
            active: HashSet::new(),
            ready: ReadyQueues::new(&spec),
            commands: command.into_iter().collect(),
            spec,
        }
    }

    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Version of the job's own stream.
    pub const fn version(&self) -> u32 {
        self.version
    }

    pub const fn spec(&self) -> &Arc<JobSpec> {
        &self.spec
    }

    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub const fn submitted_at(&self) -> Timestamp {
        self.submitted_at
    }

    /// Time and identity of its deadline's timer.
    pub const fn deadline(&self) -> Option<(Timestamp, u32)> {
        self.deadline
    }

    pub const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The status it finished with; `None` while a task is unfinished.
    pub const fn finished(&self) -> Option<JobStatus> {
        self.finished
    }

    /// The fan-out under way.
    pub fn fan_out(&self) -> Option<FanOut> {
        self.fan_outs.front().copied()
    }

    /// Whether a kill, stop or deadline is being carried out, or a stop has been.
    pub fn is_ending(&self) -> bool {
        self.stopping || self.fan_outs.front().is_some_and(|fan_out| fan_out.kind.ends_tasks())
    }

    /// Nothing more can happen to it by itself: it may be put away.
    pub fn is_at_rest(&self) -> bool {
        self.finished.is_some() && self.active.is_empty() && self.fan_outs.is_empty()
    }

    /// Whether there is anything to kill or stop: unfinished tasks, or failed ones that an accepted retry has not
    /// reached yet.
    pub fn has_work(&self) -> bool {
        self.counters.unfinished() > 0 || self.fan_outs.iter().any(|fan_out| fan_out.kind == FanOutKind::Retry)
    }

    /// Every task is in its final state, and that has not been said yet.
    pub fn must_say_finished(&self) -> bool {
        self.finished.is_none() && self.fan_outs.is_empty() && self.counters.unfinished() == 0
    }

    /// A written-out task.
    pub fn task(&self, number: u32) -> Option<&TaskRecord> {
        self.tasks.get((number as usize).checked_sub(1)?)
    }

    /// Version of the task's stream; 0 before its first event.
    pub fn task_version(&self, number: u32) -> u32 {
        self.task(number).map_or(0, |record| record.version)
    }

    /// How many tasks have been written out.
    pub fn written(&self) -> u32 {
        self.tasks.len() as u32
    }

    /// The worker of the task's last attempt.
    pub fn worker_of(&self, number: u32) -> Option<&(WorkerName, Incarnation)> {
        self.workers.get((self.task(number)?.worker as usize).checked_sub(1)?)
    }

    /// The numbers of the tasks that are SCHEDULED, RUNNING or have an open attempt, in no order.
    pub fn active(&self) -> impl Iterator<Item = u32> + '_ {
        self.active.iter().copied()
    }

    pub fn active_count(&self) -> usize {
        self.active.len()
    }

    /// Where a task stands in the document.
    pub fn place(&self, number: u32) -> Option<TaskPlace<'_>> {
        self.index.place(&self.spec, number)
    }

    pub fn policy(&self, number: u32) -> Option<&Policy> {
        self.spec.policies.get(self.place(number)?.group.policy as usize)
    }

    pub const fn task_id(&self, number: u32) -> TaskId {
        TaskId { job: self.id, number }
    }

    /// Whether this client command has been carried out already.
    pub fn remembers(&self, command: Uuid) -> bool {
        self.commands.contains(&command)
    }

    /// The next task to be placed, without taking it, of a policy that `pass_over` does not name.
    ///
    /// Nothing too when `maxParallel` are active or the job is being ended.
    pub fn next_ready(&mut self, pass_over: &dyn Fn(u32) -> bool) -> NextReady {
        let full = self
            .spec
            .max_parallel
            .is_some_and(|most| self.active.len() >= most as usize);
        if self.counters.ready == 0 || full || self.is_ending() {
            return NextReady::Nothing;
        }
        self.ready.next(&self.tasks, pass_over)
    }

    /// Takes in one fact.
    pub fn apply(&mut self, fact: Fact<'_>) -> Result<(), IllegalTransition> {
        if let Some(command) = fact.command
            && !self.commands.contains(&command)
        {
            if self.commands.len() == REMEMBERED_COMMANDS {
                self.commands.pop_front();
            }
            self.commands.push_back(command);
        }
        if fact.task == 0 {
            self.apply_to_job(fact)
        } else {
            self.apply_to_task(fact)
        }
    }

    fn apply_to_job(&mut self, fact: Fact<'_>) -> Result<(), IllegalTransition> {
        let illegal = |why| IllegalTransition {
            task: 0,
            state: "-",
            event: fact.event.type_name(),
            why,
        };
        if fact.version != self.version + 1 {
            return Err(illegal("its version is not the next one"));
        }
        let request = |kind| FanOut {
            kind,
            request: fact.version,
            next_task: 1,
        };
        match fact.event {
            Event::JobKillRequested(_) | Event::JobDeadlineReached(_) => {
                if !self.has_work() {
                    return Err(illegal("nothing is unfinished"));
                }
                let kill = matches!(fact.event, Event::JobKillRequested(_));
                self.fan_outs.clear();
                self.fan_outs
                    .push_back(request(if kill { FanOutKind::Kill } else { FanOutKind::Deadline }));
            }
            Event::JobStopRequested(_) => {
                if !self.has_work() || self.is_ending() {
                    return Err(illegal("nothing is unfinished, or the job is being ended"));
                }
                self.stopping = true;
                self.fan_outs.clear();
                self.fan_outs.push_back(request(FanOutKind::Stop));
            }
            Event::JobRetryRequested(retry) => {
                if self.is_ending() && self.finished.is_none() {
                    return Err(illegal("the job is being ended"));
                }
                self.stopping = false;
                self.finished = None;
                self.deadline = retry.deadline_at.map(|due| (due, fact.version));
                self.fan_outs.push_back(request(FanOutKind::Retry));
            }
            Event::FanOutAdvanced(advanced) => {
                let Some(front) = self.fan_outs.front_mut() else {
                    return Err(illegal("no fan-out is under way"));
                };
                if front.request != advanced.request || advanced.next_task < front.next_task {
                    return Err(illegal("it never goes back, and belongs to the request under way"));
                }
                front.next_task = advanced.next_task;
                if advanced.next_task > self.spec.task_count {
                    self.fan_outs.pop_front();
                }
            }
            Event::JobFinished(finished) => {
                if !self.must_say_finished() || finished.status != self.counters.status() {
                    return Err(illegal("tasks are unfinished, or their status is another"));
                }
                self.finished = Some(finished.status);
            }
            Event::JobSubmitted(_) => return Err(illegal("it was submitted already")),
            Event::TaskReady(_)
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
            | Event::WorkerDrainRequested(_) => return Err(illegal("it is not an event of a job")),
        }
        self.version = fact.version;
        Ok(())
    }

    fn apply_to_task(&mut self, fact: Fact<'_>) -> Result<(), IllegalTransition> {
        let number = fact.task;
        let before = self.task(number).copied();
        let illegal = |why| IllegalTransition {
            task: number,
            state: before.map_or("unwritten", |record| record.state.name()),
            event: fact.event.type_name(),
            why,
        };
        if before.is_none() && (number != self.written() + 1 || number > self.spec.task_count) {
            return Err(illegal("tasks are written out in order"));
        }
        if fact.version != before.map_or(0, |record| record.version) + 1 {
            return Err(illegal("its version is not the next one"));
        }
        let state = next_state(before.as_ref(), fact.event).map_err(illegal)?;
        let worker = self.worker_slot(fact.event);
        let mut record = before.unwrap_or(TaskRecord::new());
        change(&mut record, fact, state, worker);
        self.count(before.as_ref(), &record);
        if before.is_none() {
            self.tasks.push(record);
        } else if let Some(slot) = self.tasks.get_mut(number as usize - 1) {
            *slot = record;
        }
        self.track(number, before.as_ref(), &record);
        Ok(())
    }

    fn worker_slot(&mut self, event: &Event) -> u32 {
        let Event::TaskScheduled(scheduled) = event else {
            return 0;
        };
        if let Some(slot) = self.worker_index.get(&scheduled.incarnation) {
            return *slot;
        }
        self.workers.push((scheduled.worker.clone(), scheduled.incarnation));
        let slot = self.workers.len() as u32;
        self.worker_index.insert(scheduled.incarnation, slot);
        slot
    }

    fn count(&mut self, before: Option<&TaskRecord>, after: &TaskRecord) {
        let counters = &mut self.counters;
        // A task that is not written out counts as READY.
        match before {
            None => counters.ready -= 1,
            Some(record) => {
                *slot(counters, record.state) -= 1;
                counters.retries_pending -= u32::from(record.retry_pending());
                if record.state == TaskState::Failed && record.is_final() {
                    counters.finally_failed[record.reason as usize] -= 1;
                }
            }
        }
        *slot(counters, after.state) += 1;
        counters.retries_pending += u32::from(after.retry_pending());
        if after.state == TaskState::Failed && after.is_final() {
            counters.finally_failed[after.reason as usize] += 1;
        }
    }

    fn track(&mut self, number: u32, before: Option<&TaskRecord>, after: &TaskRecord) {
        let is_active = |record: &TaskRecord| {
            matches!(record.state, TaskState::Scheduled | TaskState::Running) || record.attempt_open()
        };
        let was = before.is_some_and(is_active);
        if is_active(after) {
            if !was {
                self.active.insert(number);
            }
        } else if was {
            self.active.remove(&number);
        }
        // Tasks that were never given out are found by their number; only those that were away come into the list.
        let placeable = |record: &TaskRecord| record.state == TaskState::Ready && !record.attempt_open();
        if placeable(after) && before.is_some_and(|record| !placeable(record)) {
            let policy = self.place(number).map_or(0, |place| place.group.policy);
            self.ready.push_returned(policy, number);
        }
    }

    /// Rebuilds what is derived from the records: the queues of READY tasks and the set of active ones.
    pub(super) fn derive(&mut self) {
        self.active.clear();
        // All READY tasks are found by their number again.
        self.ready = ReadyQueues::new(&self.spec);
        for number in 1..=self.written() {
            let Some(record) = self.task(number).copied() else {
                continue;
            };
            self.track(number, None, &record);
        }
        self.worker_index = self
            .workers
            .iter()
            .enumerate()
            .map(|(index, (_, incarnation))| (*incarnation, index as u32 + 1))
            .collect();
    }
}

fn slot(counters: &mut Counters, state: TaskState) -> &mut u32 {
    match state {
        TaskState::Ready => &mut counters.ready,
        TaskState::Scheduled => &mut counters.scheduled,
        TaskState::Running => &mut counters.running,
        TaskState::Completed => &mut counters.completed,
        TaskState::Failed => &mut counters.failed,
    }
}

/// What an event makes of a task's record, once it is known to be legal.
pub(super) fn change(record: &mut TaskRecord, fact: Fact<'_>, state: TaskState, worker: u32) {
    record.version = fact.version;
    record.state = state;
    match fact.event {
        Event::TaskReady(ready) => {
            match ready.cause {
                ReadyCause::HandedBack => record.handed_back = record.handed_back.saturating_add(1),
                ReadyCause::JobRetry { .. } => {
                    record.retries_used = 0;
                    record.losses_used = 0;
                    record.handed_back = 0;
                    record.restarts = 0;
                }
                ReadyCause::Submission | ReadyCause::Retry { .. } => {}
            }
            record.set_flag(Flag::Final, false);
            record.set_flag(Flag::RetryPending, false);
            record.set_timer(None, 0);
        }
        Event::TaskScheduled(scheduled) => {
            let Attempt(attempt) = scheduled.attempt;
            record.attempt = attempt;
            record.worker = worker;
            record.set_timer(scheduled.start_by, fact.version);
        }
        Event::TaskStarted(started) => record.set_timer(started.run_by, fact.version),
        Event::TaskCompleted(_) => record.set_timer(None, 0),
        Event::TaskFailed(failed) => {
            record.reason = failed.failure.reason;
            record.set_flag(Flag::Final, failed.r#final);
            record.set_flag(Flag::AttemptOpen, failed.attempt_open);
            record.set_timer(None, 0);
        }
        Event::RetryScheduled(retry) => {
            match retry.budget {
                Budget::Retries => record.retries_used = record.retries_used.saturating_add(1),
                Budget::Losses => record.losses_used = record.losses_used.saturating_add(1),
                Budget::Restarts => record.restarts = record.restarts.saturating_add(1),
                Budget::Paid => {}
            }
            record.set_flag(Flag::RetryPending, true);
            record.set_timer(Some(retry.due_at), fact.version);
        }
        Event::RetryCancelled(cancelled) => {
            record.reason = cancelled.reason;
            record.set_flag(Flag::RetryPending, false);
            record.set_flag(Flag::Final, true);
            record.set_timer(None, 0);
        }
        Event::AttemptEnded(_) => record.set_flag(Flag::AttemptOpen, false),
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
        | Event::WorkerDrainRequested(_) => {}
    }
}
