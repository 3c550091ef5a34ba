//! Random lives of jobs: whatever happens, in whatever order, what must hold holds after every step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::given::{Input, START, apply, decide, job_id, next_ready};
use super::model::{Entry, Model};
use crate::domain::event::{Event, Failure, FailureReason, JobSubmitted, TaskState};
use crate::domain::{
    AttemptOutcome, ExecutorKind, Fact, Job, JobSpec, LossCause, NextReady, Policy, RetryPolicy, TaskGroup, Timeouts,
    Timestamp,
};

/// The first group: default policy, tasks 1 to 4. The second: one retry with jitter, timeouts.
const PLAIN: u32 = 4;

fn policy_of(task: u32) -> (u32, bool) {
    if task <= PLAIN { (3, true) } else { (1, false) }
}

fn spec(others: u32, max_parallel: Option<u32>, deadline_ms: Option<u64>) -> JobSpec {
    let group = |name: &str, replicas, policy| TaskGroup {
        external_id: name.into(),
        replicas,
        executor: ExecutorKind::Noop,
        policy,
    };
    let timed = Policy {
        retry: RetryPolicy {
            max_retries: 1,
            jitter: true,
            ..RetryPolicy::default()
        },
        timeouts: Timeouts {
            start_ms: Some(3_000),
            run_ms: Some(5_000),
        },
        ..Policy::default()
    };
    let mut groups = vec![group("plain", PLAIN, 0)];
    groups.extend((others > 0).then(|| group("timed", others, 1)));
    JobSpec {
        task_count: PLAIN + others,
        policies: vec![Policy::default(), timed],
        groups,
        max_parallel,
        deadline_ms,
        ..JobSpec::default()
    }
}

/// What happens next; the numbers choose among what there is.
#[derive(Clone, Debug)]
enum Op {
    Pass {
        ms: u16,
    },
    FanOut {
        most: u8,
    },
    Place {
        worker: u8,
    },
    Start {
        nth: u8,
    },
    End {
        nth: u8,
        how: u8,
    },
    Lose {
        nth: u8,
        restart: bool,
    },
    Strike {
        nth: u8,
    },
    Deadline,
    Kill,
    Stop,
    Retry,
    CancelRetry {
        task: u8,
    },
    BringForward {
        task: u8,
    },
    Finish,
    /// Something told before is told again.
    Again {
        nth: u16,
    },
    /// Something that makes no sense, or does by chance.
    Wild {
        what: u8,
        task: u8,
        number: u8,
    },
    /// Put away and loaded from its snapshot.
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..6_000_u16).prop_map(|ms| Op::Pass { ms }),
        8 => (1..5_u8).prop_map(|most| Op::FanOut { most }),
        16 => (0..4_u8).prop_map(|worker| Op::Place { worker }),
        10 => any::<u8>().prop_map(|nth| Op::Start { nth }),
        14 => (any::<u8>(), any::<u8>()).prop_map(|(nth, how)| Op::End { nth, how }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(nth, restart)| Op::Lose { nth, restart }),
        12 => any::<u8>().prop_map(|nth| Op::Strike { nth }),
        1 => Just(Op::Deadline),
        1 => Just(Op::Kill),
        1 => Just(Op::Stop),
        3 => Just(Op::Retry),
        2 => any::<u8>().prop_map(|task| Op::CancelRetry { task }),
        2 => any::<u8>().prop_map(|task| Op::BringForward { task }),
        3 => Just(Op::Finish),
        6 => any::<u16>().prop_map(|nth| Op::Again { nth }),
        4 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(what, task, number)| Op::Wild { what, task, number }),
        2 => Just(Op::Reload),
    ]
}

fn outcome(how: u8) -> AttemptOutcome {
    match how % 12 {
        0..6 => AttemptOutcome::Completed {
            counters: BTreeMap::new(),
        },
        6 => AttemptOutcome::HandedBack,
        7 => AttemptOutcome::Failed(Failure::new(FailureReason::Unrecoverable, "never")),
        8 => AttemptOutcome::Failed(Failure::new(FailureReason::Timeout, "slow")),
        _ => AttemptOutcome::Failed(Failure::new(FailureReason::Error, "no")),
    }
}

#[derive(Clone)]
struct Life {
    job: Job,
    submitted: JobSubmitted,
    now: Timestamp,
    model: Model,
    facts: Vec<(u32, u32, Timestamp, Event)>,
    /// Reports and timers that had their effect, and may all come again.
    told: Vec<Input>,
    jitter: f64,
}

impl Life {
    fn new(spec: JobSpec) -> Self {
        let model = Model::new(spec.task_count, policy_of);
        let submitted = Job::decide_submit(spec, START);
        let job = Job::submitted(job_id(), &submitted, START, None);
        Self {
            job,
            submitted,
            now: START,
            model,
            facts: Vec::new(),
            told: Vec::new(),
            jitter: 0.3,
        }
    }

    /// Tells the job something, takes in what it decides, and checks everything.
    fn tell(&mut self, input: &Input) {
        let decided = decide(&self.job, input, self.now, self.jitter);
        if let Input::Ended { task, attempt, .. } | Input::Lost { task, attempt, .. } = input {
            self.model.told_end(*task, *attempt);
        }
        let decided = decided.unwrap_or_default();
        let is_report_or_timer = matches!(
            input,
            Input::Started { .. }
                | Input::Ended { .. }
                | Input::Lost { .. }
                | Input::Timer { .. }
                | Input::Deadline { .. }
        );
        if is_report_or_timer && !decided.is_empty() {
            self.told.push(input.clone());
        }
        for (task, event) in decided {
            let version = 1 + if task == 0 {
                self.job.version()
            } else {
                self.job.task_version(task)
            };
            self.model.see(task, &event, self.now);
            apply(&mut self.job, task, &event, self.now);
            self.facts.push((task, version, self.now, event));
        }
        self.check();
        if !matches!(input, Input::FanOut { .. }) {
            self.must_change_nothing(input);
        }
    }

    fn must_change_nothing(&self, input: &Input) {
        let again = decide(&self.job, input, self.now, self.jitter).unwrap_or_default();
        assert_eq!(again, [], "{input:?} told again");
    }

    fn check(&self) {
        let Self { job, model, .. } = self;
        let tasks = job.spec().task_count;
        assert_eq!(*job.counters(), model.counters());
        assert_eq!(job.counters().tasks(), tasks);
        assert_eq!(job.counters().status(), model.status());
        for (number, entry) in &model.entries {
            let Some(record) = job.task(*number) else {
                assert_eq!(entry.state, None);
                continue;
            };
            assert_eq!(Some(record.state()), entry.state);
            assert_eq!(record.attempt().0, entry.attempt);
            assert_eq!(u32::from(record.retries_used()), entry.retries);
            if record.state() == TaskState::Failed {
                assert_eq!(record.is_final(), !record.retry_pending(), "task {number}");
                assert_eq!(record.reason(), entry.reason);
            } else {
                assert!(!record.is_final() && !record.retry_pending());
            }
            let in_the_world = model.in_the_world.iter().any(|(other, _)| other == number);
            assert_eq!(
                job.active().any(|active| active == *number),
                in_the_world,
                "task {number}"
            );
        }
        if let Some(status) = job.finished() {
            assert!(!model.unfinished() && job.fan_out().is_none_or(|it| !it.kind.ends_tasks()));
            assert_eq!(status, model.status());
        }
        let snapshot = job.to_snapshot();
        assert_eq!(Job::from_snapshot(&snapshot).unwrap().to_snapshot(), snapshot);
        assert_eq!(self.folded().to_snapshot(), snapshot);
    }

    fn folded(&self) -> Job {
        let mut job = Job::submitted(job_id(), &self.submitted, START, None);
        for (task, version, at, event) in &self.facts {
            job.apply(Fact {
                task: *task,
                version: *version,
                at: *at,
                command: None,
                event,
            })
            .unwrap();
        }
        job
    }

    fn place(&mut self, worker: u8) -> bool {
        let Some(task) = next_ready(&mut self.job) else {
            return false;
        };
        let record = self.job.task(task).unwrap();
        assert!(record.state() == TaskState::Ready && !record.attempt_open() && !self.job.is_ending());
        if let Some(most) = self.job.spec().max_parallel {
            assert!(self.model.in_the_world.len() < most as usize);
        }
        let attempt = record.attempt().0;
        self.tell(&Input::Schedule { task, worker });
        assert_eq!(
            self.job.task(task).unwrap().attempt().0,
            attempt + 1,
            "what next_ready gives can be placed"
        );
        true
    }

    fn nth_attempt(&self, nth: u8) -> Option<(u32, u32)> {
        let all = &self.model.in_the_world;
        all.iter().nth(usize::from(nth) % all.len().max(1)).copied()
    }

    fn timers(&self) -> Vec<(u32, Timestamp, u32)> {
        (1..=self.job.written())
            .filter_map(|task| self.job.task(task)?.timer().map(|(due, version)| (task, due, version)))
            .collect()
    }

    fn step(&mut self, op: &Op) {
        let task_of = |number: u8| u32::from(number) % (self.job.spec().task_count + 2);
        match *op {
            Op::Pass { ms } => self.now = self.now + std::time::Duration::from_millis(ms.into()),
            Op::FanOut { most } => self.tell(&Input::FanOut { most: most.into() }),
            Op::Place { worker } => drop(self.place(worker)),
            Op::Start { nth } => {
                if let Some((task, attempt)) = self.nth_attempt(nth) {
                    self.tell(&Input::Started { task, attempt });
                }
            }
            Op::End { nth, how } => {
                if let Some((task, attempt)) = self.nth_attempt(nth) {
                    self.tell(&Input::Ended {
                        task,
                        attempt,
                        outcome: outcome(how),
                    });
                }
            }
            Op::Lose { nth, restart } => {
                let cause = if restart { LossCause::Restart } else { LossCause::Lost };
                if let Some((task, attempt)) = self.nth_attempt(nth) {
                    self.tell(&Input::Lost { task, attempt, cause });
                }
            }
            Op::Strike { nth } => {
                let timers = self.timers();
                if let Some((task, _, version)) = timers.get(usize::from(nth) % timers.len().max(1)) {
                    self.tell(&Input::Timer {
                        task: *task,
                        version: *version,
                    });
                }
            }
            Op::Deadline => {
                if let Some((_, version)) = self.job.deadline() {
                    self.tell(&Input::Deadline { version });
                }
            }
            Op::Kill => self.tell(&Input::Kill),
            Op::Stop => self.tell(&Input::Stop),
            Op::Retry => self.tell(&Input::Retry),
            Op::CancelRetry { task } => self.tell(&Input::CancelRetry { task: task_of(task) }),
            Op::BringForward { task } => self.tell(&Input::BringForward { task: task_of(task) }),
            Op::Finish => self.tell(&Input::Finish),
            Op::Again { nth } => {
                if let Some(input) = self.told.get(usize::from(nth) % self.told.len().max(1)) {
                    self.must_change_nothing(input);
                }
            }
            Op::Wild { what, task, number } => {
                let (task, attempt) = (task_of(task), u32::from(number % 5));
                self.tell(&match what % 5 {
                    0 => Input::Started { task, attempt },
                    1 => Input::Ended {
                        task,
                        attempt,
                        outcome: outcome(number),
                    },
                    2 => Input::Timer {
                        task,
                        version: number.into(),
                    },
                    3 => Input::Deadline { version: number.into() },
                    _ => Input::Schedule {
                        task,
                        worker: number % 4,
                    },
                });
            }
            Op::Reload => self.job = Job::from_snapshot(&self.job.to_snapshot()).unwrap(),
        }
    }

    fn run_fan_outs(&mut self) {
        for _ in 0..1_000 {
            if self.job.fan_out().is_none() {
                return;
            }
            self.tell(&Input::FanOut { most: 3 });
        }
        panic!("a fan-out never ends: {:?}", self.job.fan_out());
    }

    fn must_be_over(mut self) {
        for entry in self.model.entries.values() {
            assert!(entry.state == Some(TaskState::Completed) || entry.is_final, "{entry:?}");
        }
        self.tell(&Input::Finish);
        assert_eq!(self.job.finished(), Some(self.model.status()));
    }

    fn a_kill_ends_it(mut self) {
        self.tell(&Input::Kill);
        self.run_fan_outs();
        self.must_be_over();
    }

    fn a_stop_ends_it(mut self, how: u8) {
        self.tell(&Input::Stop);
        self.run_fan_outs();
        assert_eq!(next_ready(&mut self.job), None);
        for (task, attempt) in self.model.in_the_world.clone() {
            self.tell(&Input::Ended {
                task,
                attempt,
                outcome: outcome(how),
            });
        }
        self.must_be_over();
    }

    /// READY tasks come, also when those of another policy cannot be placed.
    fn every_ready_task_is_given(mut self, never: u32) {
        self.run_fan_outs();
        if self.job.is_ending() {
            return;
        }
        for (task, attempt) in self.model.in_the_world.clone() {
            self.tell(&Input::Ended {
                task,
                attempt,
                outcome: outcome(0),
            });
        }
        while let NextReady::Task { number, policy } = self.job.next_ready(&|policy| policy == never) {
            assert_eq!(policy, u32::from(number > PLAIN));
            let attempt = self.job.task(number).unwrap().attempt().0 + 1;
            self.tell(&Input::Schedule {
                task: number,
                worker: 1,
            });
            self.tell(&Input::Ended {
                task: number,
                attempt,
                outcome: outcome(0),
            });
        }
        let left = |entry: &Entry| entry.state == Some(TaskState::Ready);
        for (task, entry) in &self.model.entries {
            assert!(
                !left(entry) || u32::from(*task > PLAIN) == never,
                "task {task} was never given"
            );
        }
        let passed_over = self.model.entries.values().any(left);
        let expected = if passed_over {
            NextReady::PassedOver
        } else {
            NextReady::Nothing
        };
        assert_eq!(self.job.next_ready(&|policy| policy == never), expected);
    }

    /// Left to itself with workers that end what they get, it finishes.
    fn it_finishes(mut self) {
        for _ in 0..100 {
            self.run_fan_outs();
            for (task, attempt) in self.model.in_the_world.clone() {
                self.tell(&Input::Ended {
                    task,
                    attempt,
                    outcome: outcome(0),
                });
            }
            while self.place(1) {}
            if let Some((task, due, version)) = self.timers().into_iter().min_by_key(|(_, due, _)| *due) {
                self.now = self.now.max(due);
                self.tell(&Input::Timer { task, version });
            }
            if !self.model.unfinished() {
                break;
            }
        }
        self.must_be_over();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_a_job(
        others in 0..6_u32,
        max_parallel in proptest::option::weighted(0.3, 1..5_u32),
        deadline_ms in proptest::option::weighted(0.2, 1..20_000_u64),
        ops in proptest::collection::vec(op(), 1..120),
        how in any::<u8>(),
    ) {
        let mut life = Life::new(spec(others, max_parallel, deadline_ms));
        life.check();
        for op in &ops {
            life.step(op);
        }
        life.clone().a_kill_ends_it();
        life.clone().a_stop_ends_it(how);
        life.clone().every_ready_task_is_given(u32::from(how % 3));
        life.it_finishes();
    }
}
