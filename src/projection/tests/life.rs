//! Random histories, made by the domain's own decisions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::Rng;
use uuid::Uuid;

use crate::domain::event::{
    Event, Failure, FailureReason, JobSubmitted, StreamId, WorkerEnd, WorkerLeft, WorkerRegistered,
};
use crate::domain::{
    AttemptOutcome, Decision, ExecutorKind, Fact, Incarnation, Job, JobId, JobSpec, Labels, LossCause, Policy,
    RetryPolicy, TaskGroup, Timeouts, Timestamp, WorkerName,
};
use crate::event::{EventRecord, Meta};

/// A job that has lived, and its history.
pub struct Life {
    pub job: Job,
    pub records: Vec<EventRecord>,
    versions: HashMap<StreamId, u32>,
    now: Timestamp,
}

fn meta(at: Timestamp) -> Meta {
    Meta {
        at,
        principal: Arc::from("someone"),
        command: None,
        causation: None,
        traceparent: None,
    }
}

fn spec(tasks: u32, deadline: bool) -> JobSpec {
    let group = |external_id: &str, replicas| TaskGroup {
        external_id: external_id.to_owned(),
        replicas,
        executor: ExecutorKind::Noop,
        policy: 0,
    };
    let mut groups = vec![group("first", 1), group("rest", tasks.saturating_sub(1))];
    groups.truncate(if tasks > 1 { 2 } else { tasks as usize });
    JobSpec {
        external_id: Some("a job".to_owned()),
        labels: Labels::from([("team".to_owned(), "x".to_owned())]),
        document_hash: "00".to_owned(),
        task_count: tasks,
        deadline_ms: deadline.then_some(60_000),
        policies: vec![Policy {
            retry: RetryPolicy {
                max_retries: 2,
                ..RetryPolicy::default()
            },
            timeouts: Timeouts {
                start_ms: Some(5_000),
                run_ms: Some(10_000),
            },
            requires: Labels::new(),
        }],
        groups,
        ..JobSpec::default()
    }
}

impl Life {
    pub fn random(seed: u64, tasks: u32, steps: usize) -> Self {
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &{
            let mut bytes = [7_u8; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes
        });
        let now = Timestamp::from_ms(1_800_000_000_000);
        let id = JobId(Uuid::from_u128(
            (1_800_000_000_000_u128 << 80) + (7 << 76) + u128::from(seed),
        ));
        let submitted: JobSubmitted = Job::decide_submit(spec(tasks, seed.is_multiple_of(3)), now);
        let job = Job::submitted(id, &submitted, now, None);
        let first = EventRecord {
            stream: StreamId::Job(id),
            version: 1,
            meta: meta(now),
            event: Event::JobSubmitted(Box::new(submitted)),
        };
        let versions = HashMap::from([(StreamId::Job(id), 1)]);
        let mut life = Self {
            job,
            records: vec![first],
            versions,
            now,
        };
        for _ in 0..steps {
            life.step(&mut rng);
        }
        life
    }

    fn commit(&mut self, decision: Decision) {
        for (task, event) in decision {
            let stream = if task == 0 {
                StreamId::Job(self.job.id())
            } else {
                StreamId::Task(self.job.task_id(task))
            };
            let version = self.versions.entry(stream).or_default();
            *version += 1;
            let fact = Fact {
                task,
                version: *version,
                at: self.now,
                command: None,
                event: &event,
            };
            self.job.apply(fact).unwrap();
            self.records.push(EventRecord {
                stream,
                version: *version,
                meta: meta(self.now),
                event,
            });
        }
        let finished = self.job.decide_finished();
        if !finished.is_empty() {
            self.commit(finished);
        }
    }

    fn step(&mut self, rng: &mut TestRng) {
        let mut below = |bound: u32| rng.next_u32() % bound.max(1);
        self.now = self.now + std::time::Duration::from_millis(u64::from(below(3_000)));
        let number = below(self.job.spec().task_count) + 1;
        let attempt = self
            .job
            .task(number)
            .map_or_else(Default::default, |task| task.attempt());
        let (job, now) = (&self.job, self.now);
        let decision = match below(34) {
            0..=5 => job.decide_fan_out(1 + below(3) as usize),
            6..=13 => {
                let (worker, incarnation) = worker(below(3));
                job.decide_schedule(number, &worker, incarnation, now)
                    .map(|event| (number, event))
                    .into_iter()
                    .collect()
            }
            14..=17 => job.decide_started(number, attempt, now),
            18..=19 => job.decide_ended(
                number,
                attempt,
                AttemptOutcome::Completed {
                    counters: BTreeMap::new(),
                },
                now,
                0.5,
            ),
            20..=23 => {
                let reason = FailureReason::ALL[below(8) as usize];
                let failure = Failure::new(reason, "it broke \0");
                job.decide_ended(number, attempt, AttemptOutcome::Failed(failure), now, 0.5)
            }
            24 => job.decide_ended(number, attempt, AttemptOutcome::HandedBack, now, 0.5),
            25 => job.decide_lost(number, attempt, LossCause::Lost, now, 0.5),
            26 => job.decide_lost(number, attempt, LossCause::Restart, now, 0.5),
            27..=28 => match job.task(number).and_then(|task| task.timer()) {
                Some((due, version)) => {
                    self.now = self.now.max(due);
                    job.decide_timer(number, version, self.now, 0.5)
                }
                None => Vec::new(),
            },
            29 => job.decide_cancel_retry(number).unwrap_or_default(),
            30 => job.decide_bring_forward(number, now).unwrap_or_default(),
            31 => job.decide_retry(now).unwrap_or_default(),
            32 if below(3) == 0 => job.decide_kill(),
            33 if below(3) == 0 => job.decide_stop(),
            _ => match job.deadline() {
                Some((_, version)) => job.decide_deadline(version, now),
                None => Vec::new(),
            },
        };
        self.commit(decision);
    }
}

fn worker(number: u32) -> (WorkerName, Incarnation) {
    (
        format!("w{number}").parse().unwrap(),
        Incarnation(Uuid::from_u128(u128::from(number) + 1)),
    )
}

/// A worker registers, is replaced, and then the end of its first process is told.
pub fn worker_history() -> Vec<EventRecord> {
    let name: WorkerName = "w".parse().unwrap();
    let (first, second) = (Incarnation(Uuid::from_u128(1)), Incarnation(Uuid::from_u128(2)));
    let registered = |incarnation, at| EventRecord {
        stream: StreamId::Worker(incarnation),
        version: 1,
        meta: meta(Timestamp::from_ms(at)),
        event: Event::WorkerRegistered(Box::new(WorkerRegistered {
            worker: name.clone(),
            incarnation,
            endpoint_url: "http://127.0.0.1:1".to_owned(),
            max_capacity: 4,
            labels: Labels::new(),
        })),
    };
    let left = EventRecord {
        stream: StreamId::Worker(first),
        version: 2,
        meta: meta(Timestamp::from_ms(4_000)),
        event: Event::WorkerLeft(WorkerLeft {
            worker: name.clone(),
            incarnation: first,
            cause: WorkerEnd::Superseded,
        }),
    };
    vec![registered(first, 1_000), registered(second, 3_000), left]
}
