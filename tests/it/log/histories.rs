//! Random lives of jobs, made only by what the domain decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grid::domain::event::{Event, Failure, FailureReason};
use grid::domain::{
    Attempt, AttemptOutcome, Decision, ExecutorKind, Fact, Incarnation, Job, JobId, JobSpec, LossCause, Policy,
    StreamId, TaskGroup, TaskId, TaskState, Timestamp, WorkerName,
};
use grid::event::{EventRecord, Meta};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Jobs of one shard, and the time.
pub struct Histories {
    pub jobs: BTreeMap<JobId, Job>,
    pub now: Timestamp,
    rng: StdRng,
    /// Ids are chosen so that they belong to this shard.
    shard: u16,
    shards: u16,
}

impl Histories {
    pub fn new(shard: u16, shards: u16, seed: u64) -> Self {
        Self {
            jobs: BTreeMap::new(),
            now: grid::clock::now(),
            rng: StdRng::seed_from_u64(seed),
            shard,
            shards,
        }
    }

    /// Submits a job of so many tasks.
    pub fn submit(&mut self, tasks: u32) -> (JobId, Vec<EventRecord>) {
        let id = self.fresh_id();
        let submitted = Job::decide_submit(spec(tasks), self.now);
        let command = Uuid::from_u128(self.rng.random());
        let meta = Meta {
            command: Some(command),
            ..super::meta(self.now)
        };
        let job = Job::submitted(id, &submitted, self.now, Some(command));
        self.jobs.insert(id, job);
        let event = Event::JobSubmitted(Box::new(submitted));
        let mut records = vec![EventRecord {
            stream: StreamId::Job(id),
            version: 1,
            meta,
            event,
        }];
        records.extend(self.settle(id));
        (id, records)
    }

    fn fresh_id(&mut self) -> JobId {
        loop {
            let random: u128 = self.rng.random();
            let uuid = uuid::Builder::from_unix_timestamp_millis(
                self.now.as_ms() as u64,
                &random.to_be_bytes()[..10].try_into().unwrap(),
            );
            let id = JobId(uuid.into_uuid());
            if id.shard(self.shards).0 == self.shard {
                return id;
            }
        }
    }

    /// Something happens: to a random job, mostly.
    pub fn step(&mut self) -> Vec<EventRecord> {
        self.now = self.now + Duration::from_millis(self.rng.random_range(0..3_000));
        if self.jobs.is_empty() || self.rng.random_bool(0.08) {
            let tasks = self.rng.random_range(0..6);
            return self.submit(tasks).1;
        }
        let index = self.rng.random_range(0..self.jobs.len());
        let id = *self.jobs.keys().nth(index).unwrap();
        let command = Uuid::from_u128(self.rng.random());
        let mut records = Vec::new();
        let decision = self.decide(id);
        records.extend(self.apply(id, decision, Some(command)));
        records.extend(self.settle(id));
        records
    }

    fn decide(&mut self, id: JobId) -> Decision {
        let (now, jitter) = (self.now, self.rng.random::<f64>());
        let job = &self.jobs[&id];
        let number = self.rng.random_range(1..=job.written().max(1));
        match self.rng.random_range(0..100) {
            0..2 => job.decide_kill(),
            2..4 => job.decide_stop(),
            4..8 => job.decide_retry(now).unwrap_or_default(),
            8..12 => job.decide_cancel_retry(number).unwrap_or_default(),
            12..16 => job.decide_bring_forward(number, now).unwrap_or_default(),
            _ => self.decide_task(id, number, jitter),
        }
    }

    fn decide_task(&mut self, id: JobId, number: u32, jitter: f64) -> Decision {
        let (job, now) = (&self.jobs[&id], self.now);
        let Some(record) = job.task(number) else {
            return Vec::new();
        };
        let attempt: Attempt = record.attempt();
        let timer = record.timer();
        match (record.state(), self.rng.random_range(0..10)) {
            (TaskState::Ready, _) => {
                let worker: WorkerName = format!("w{}", self.rng.random_range(0..3)).parse().unwrap();
                let incarnation = Incarnation(Uuid::from_u128(7 + u128::from(worker.slot(3))));
                let event = job.decide_schedule(number, &worker, incarnation, now);
                event.map(|event| (number, event)).into_iter().collect()
            }
            (TaskState::Failed, _) => match timer {
                Some((_, version)) => job.decide_timer(number, version, now, jitter),
                None => job.decide_lost(number, attempt, LossCause::Lost, now, jitter),
            },
            (TaskState::Scheduled, 0..5) => job.decide_started(number, attempt, now),
            (_, 5) => job.decide_ended(number, attempt, AttemptOutcome::HandedBack, now, jitter),
            (_, 6) => job.decide_lost(number, attempt, LossCause::Restart, now, jitter),
            (_, 7) => job.decide_lost(number, attempt, LossCause::Lost, now, jitter),
            (_, 8) => {
                let failure = Failure::new(FailureReason::Error, "it broke: «é»");
                job.decide_ended(number, attempt, AttemptOutcome::Failed(failure), now, jitter)
            }
            _ => {
                let counters = BTreeMap::from([("records".to_owned(), 3)]);
                job.decide_ended(number, attempt, AttemptOutcome::Completed { counters }, now, jitter)
            }
        }
    }

    /// What follows by itself: fan-outs, and the job's end.
    fn settle(&mut self, id: JobId) -> Vec<EventRecord> {
        let mut records = Vec::new();
        while self.jobs[&id].fan_out().is_some() {
            let decision = self.jobs[&id].decide_fan_out(1_000);
            records.extend(self.apply(id, decision, None));
        }
        let finished = self.jobs[&id].decide_finished();
        records.extend(self.apply(id, finished, None));
        records
    }

    pub fn apply(&mut self, id: JobId, decision: Decision, command: Option<Uuid>) -> Vec<EventRecord> {
        let job = self.jobs.get_mut(&id).unwrap();
        let meta = Meta {
            at: self.now,
            principal: Arc::from("tester"),
            command,
            causation: command,
            traceparent: None,
        };
        let mut records = Vec::with_capacity(decision.len());
        for (task, event) in decision {
            let (stream, version) = match task {
                0 => (StreamId::Job(id), job.version() + 1),
                number => (StreamId::Task(TaskId { job: id, number }), job.task_version(number) + 1),
            };
            job.apply(Fact {
                task,
                version,
                at: self.now,
                command,
                event: &event,
            })
            .unwrap();
            records.push(EventRecord {
                stream,
                version,
                meta: meta.clone(),
                event,
            });
        }
        records
    }

    /// Every task of the job runs through and completes.
    pub fn complete(&mut self, id: JobId) -> Vec<EventRecord> {
        let mut records = Vec::new();
        let worker: WorkerName = "w0".parse().unwrap();
        for number in 1..=self.jobs[&id].written() {
            let job = &self.jobs[&id];
            let event = job
                .decide_schedule(number, &worker, Incarnation(Uuid::from_u128(7)), self.now)
                .unwrap();
            records.extend(self.apply(id, vec![(number, event)], None));
            let done = AttemptOutcome::Completed {
                counters: BTreeMap::new(),
            };
            let decision = self.jobs[&id].decide_ended(number, Attempt(1), done, self.now, 0.0);
            records.extend(self.apply(id, decision, None));
        }
        records.extend(self.settle(id));
        records
    }
}

fn spec(tasks: u32) -> JobSpec {
    let group = TaskGroup {
        external_id: "t".into(),
        replicas: tasks,
        executor: ExecutorKind::Noop,
        policy: 0,
    };
    JobSpec {
        external_id: Some("a job".into()),
        document_hash: "0".repeat(64),
        task_count: tasks,
        policies: vec![Policy::default()],
        groups: if tasks > 0 { vec![group] } else { Vec::new() },
        ..JobSpec::default()
    }
}
