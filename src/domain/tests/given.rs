//! `given(events).when(command).then(events | refusal)`.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::event::{
    Budget, Event, Failure, FailureReason, FanOutAdvanced, JobSubmitted, ReadyCause, RetryScheduled, TaskCompleted,
    TaskFailed, TaskReady, TaskScheduled, TaskStarted, TaskState,
};
use crate::domain::{
    Attempt, AttemptOutcome, Decision, ExecutorKind, Fact, Incarnation, Job, JobId, JobSpec, LossCause, NextReady,
    Policy, Refusal, RefusalCode, TaskGroup, Timestamp,
};

/// When every test begins.
pub const START: Timestamp = Timestamp::from_ms(1_755_600_000_000);

/// Everything that a job can be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Kill,
    Stop,
    Retry,
    Deadline {
        version: u32,
    },
    FanOut {
        most: usize,
    },
    Finish,
    Schedule {
        task: u32,
        worker: u8,
    },
    Started {
        task: u32,
        attempt: u32,
    },
    Ended {
        task: u32,
        attempt: u32,
        outcome: AttemptOutcome,
    },
    Lost {
        task: u32,
        attempt: u32,
        cause: LossCause,
    },
    Timer {
        task: u32,
        version: u32,
    },
    CancelRetry {
        task: u32,
    },
    BringForward {
        task: u32,
    },
}

/// Asks the job; changes nothing.
pub fn decide(job: &Job, input: &Input, now: Timestamp, jitter: f64) -> Result<Decision, Refusal> {
    Ok(match input.clone() {
        Input::Kill => job.decide_kill(),
        Input::Stop => job.decide_stop(),
        Input::Retry => return job.decide_retry(now),
        Input::Deadline { version } => job.decide_deadline(version, now),
        Input::FanOut { most } => job.decide_fan_out(most),
        Input::Finish => job.decide_finished(),
        Input::Schedule { task, worker } => job
            .decide_schedule(task, &name(worker), incarnation(worker), now)
            .map(|event| (task, event))
            .into_iter()
            .collect(),
        Input::Started { task, attempt } => job.decide_started(task, Attempt(attempt), now),
        Input::Ended { task, attempt, outcome } => job.decide_ended(task, Attempt(attempt), outcome, now, jitter),
        Input::Lost { task, attempt, cause } => job.decide_lost(task, Attempt(attempt), cause, now, jitter),
        Input::Timer { task, version } => job.decide_timer(task, version, now, jitter),
        Input::CancelRetry { task } => return job.decide_cancel_retry(task),
        Input::BringForward { task } => return job.decide_bring_forward(task, now),
    })
}

pub fn apply(job: &mut Job, task: u32, event: &Event, at: Timestamp) {
    let version = 1 + if task == 0 {
        job.version()
    } else {
        job.task_version(task)
    };
    job.apply(Fact {
        task,
        version,
        at,
        command: None,
        event,
    })
    .unwrap_or_else(|error| panic!("{error}; the event: {event:?}"));
}

/// The task to be placed next, if any.
pub fn next_ready(job: &mut Job) -> Option<u32> {
    match job.next_ready(&|_| false) {
        NextReady::Task { number, .. } => Some(number),
        NextReady::PassedOver | NextReady::Nothing => None,
    }
}

pub fn job_id() -> JobId {
    JobId(Uuid::from_u128(
        (u128::from(START.as_ms().cast_unsigned()) << 80) | 0x7000_8000_0000_0000_0001,
    ))
}

pub fn name(worker: u8) -> crate::domain::WorkerName {
    format!("w{worker}").parse().unwrap()
}

pub fn incarnation(worker: u8) -> Incarnation {
    Incarnation(Uuid::from_u128(
        0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(worker),
    ))
}

pub fn spec(tasks: u32, policy: Policy) -> JobSpec {
    let groups = (tasks > 0).then(|| TaskGroup {
        external_id: "t".into(),
        replicas: tasks,
        executor: ExecutorKind::Noop,
        policy: 0,
    });
    JobSpec {
        task_count: tasks,
        policies: vec![policy],
        groups: groups.into_iter().collect(),
        ..JobSpec::default()
    }
}

/// A job and the time.
pub struct Given {
    pub job: Job,
    pub now: Timestamp,
}

/// The submission of `tasks` tasks with the default policy, and what has happened since.
pub fn given(tasks: u32, events: impl IntoIterator<Item = (u32, Event)>) -> Given {
    given_spec(spec(tasks, Policy::default()), events)
}

/// As [`given`], with every task written out.
pub fn given_ready(tasks: u32, events: impl IntoIterator<Item = (u32, Event)>) -> Given {
    given_ready_spec(spec(tasks, Policy::default()), events)
}

pub fn given_ready_spec(spec: JobSpec, events: impl IntoIterator<Item = (u32, Event)>) -> Given {
    let tasks = spec.task_count;
    let written = (1..=tasks).map(|task| (task, ready(ReadyCause::Submission)));
    given_spec(spec, written.chain([(0, advanced(1, tasks + 1))]).chain(events))
}

pub fn given_spec(spec: JobSpec, events: impl IntoIterator<Item = (u32, Event)>) -> Given {
    let submitted: JobSubmitted = Job::decide_submit(spec, START);
    let mut job = Job::submitted(job_id(), &submitted, START, None);
    for (task, event) in events {
        apply(&mut job, task, &event, START);
    }
    Given { job, now: START }
}

/// What was decided, not yet taken in.
pub struct When {
    given: Given,
    decided: Result<Decision, Refusal>,
}

impl Given {
    pub fn after_ms(mut self, ms: u64) -> Self {
        self.now = self.now + std::time::Duration::from_millis(ms);
        self
    }

    pub fn when(self, input: &Input) -> When {
        let decided = decide(&self.job, input, self.now, 0.5);
        When { given: self, decided }
    }
}

impl When {
    /// Exactly these events, which are then taken in.
    pub fn then(self, expected: impl IntoIterator<Item = (u32, Event)>) -> Given {
        let expected: Decision = expected.into_iter().collect();
        let decided = self.decided.expect("it is refused");
        assert_eq!(decided, expected);
        let Given { mut job, now } = self.given;
        for (task, event) in &decided {
            apply(&mut job, *task, event, now);
        }
        Given { job, now }
    }

    pub fn then_nothing(self) -> Given {
        self.then([])
    }

    pub fn then_refused(self, code: RefusalCode) -> Given {
        assert_eq!(self.decided.expect_err("it is not refused").code, code);
        self.given
    }
}

pub fn ready(cause: ReadyCause) -> Event {
    Event::TaskReady(TaskReady { cause })
}

pub fn advanced(request: u32, next_task: u32) -> Event {
    Event::FanOutAdvanced(FanOutAdvanced { request, next_task })
}

pub fn scheduled(attempt: u32, worker: u8) -> Event {
    Event::TaskScheduled(TaskScheduled {
        attempt: Attempt(attempt),
        worker: name(worker),
        incarnation: incarnation(worker),
        start_by: None,
    })
}

pub fn started(attempt: u32) -> Event {
    Event::TaskStarted(TaskStarted {
        attempt: Attempt(attempt),
        run_by: None,
    })
}

pub fn completed(attempt: u32) -> Event {
    Event::TaskCompleted(TaskCompleted {
        attempt: Attempt(attempt),
        counters: BTreeMap::new(),
    })
}

/// `TaskFailed`, final, with nothing left open; see [`TaskFailedExt`] for the others.
pub fn failed(attempt: u32, from: TaskState, reason: FailureReason, message: &str) -> TaskFailed {
    TaskFailed {
        attempt: Attempt(attempt),
        from,
        r#final: true,
        attempt_open: false,
        failure: Failure::new(reason, message),
    }
}

pub trait TaskFailedExt {
    fn not_final(self) -> Self;
    fn open(self) -> Self;
    fn event(self) -> Event;
}

impl TaskFailedExt for TaskFailed {
    fn not_final(self) -> Self {
        Self { r#final: false, ..self }
    }

    fn open(self) -> Self {
        Self {
            attempt_open: true,
            ..self
        }
    }

    fn event(self) -> Event {
        Event::TaskFailed(Box::new(self))
    }
}

/// A retry due so long after the start.
pub fn retry(retry: u16, due_ms: u64, budget: Budget) -> Event {
    let due_at = START + std::time::Duration::from_millis(due_ms);
    Event::RetryScheduled(RetryScheduled { retry, due_at, budget })
}

pub fn ended(task: u32, attempt: u32, reason: FailureReason, message: &str) -> Input {
    Input::Ended {
        task,
        attempt,
        outcome: AttemptOutcome::Failed(Failure::new(reason, message)),
    }
}

pub fn ended_well(task: u32, attempt: u32) -> Input {
    Input::Ended {
        task,
        attempt,
        outcome: AttemptOutcome::Completed {
            counters: BTreeMap::new(),
        },
    }
}
