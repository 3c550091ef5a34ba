//! A log in memory, and plain histories to put into it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use grid::domain::event::{
    Event, Failure, FailureReason, JobSubmitted, ReadyCause, StreamId, TaskCompleted, TaskFailed, TaskReady,
    TaskScheduled, TaskStarted, TaskState,
};
use grid::domain::{
    Attempt, ExecutorKind, Incarnation, JobId, JobSpec, Labels, Policy, Seq, ShardId, TaskGroup, TaskId, Timestamp,
};
use grid::event::{EventRecord, Meta};
use grid::projection::Feed;
use uuid::Uuid;

/// The logs of all shards.
#[derive(Default)]
pub struct Log(Mutex<HashMap<ShardId, Vec<EventRecord>>>);

impl Log {
    pub fn append(&self, shard: ShardId, records: Vec<EventRecord>) -> Feed {
        let mut logs = self.0.lock().unwrap();
        let log = logs.entry(shard).or_default();
        let first_seq = Seq(log.len() as u64 + 1);
        log.extend_from_slice(&records);
        Feed {
            shard,
            first_seq,
            records: Arc::from(records),
        }
    }

    pub fn page(&self, shard: ShardId, after: Seq, most: usize) -> Vec<EventRecord> {
        let logs = self.0.lock().unwrap();
        let log = logs.get(&shard).map_or(&[][..], Vec::as_slice);
        log.iter().skip(after.0 as usize).take(most).cloned().collect()
    }
}

/// A job whose tasks go straight through their lives.
#[derive(Clone, Copy)]
pub struct PlainJob {
    pub id: JobId,
    pub tasks: u32,
}

/// A new job that belongs to the shard.
pub fn job(shard: ShardId, tasks: u32) -> PlainJob {
    let id = std::iter::repeat_with(|| JobId(Uuid::now_v7()))
        .find(|id| id.shard(64) == shard)
        .unwrap();
    PlainJob { id, tasks }
}

fn meta() -> Meta {
    Meta {
        at: grid::clock::now(),
        principal: Arc::from("anonymous"),
        command: None,
        causation: None,
        traceparent: None,
    }
}

impl PlainJob {
    pub fn submitted(self) -> Vec<EventRecord> {
        let spec = JobSpec {
            external_id: Some("plain".to_owned()),
            labels: Labels::from([("team".to_owned(), "seismology".to_owned())]),
            document_hash: "ab".repeat(32),
            task_count: self.tasks,
            policies: vec![Policy::default()],
            groups: vec![TaskGroup {
                external_id: "task".to_owned(),
                replicas: self.tasks,
                executor: ExecutorKind::Noop,
                policy: 0,
            }],
            ..JobSpec::default()
        };
        let event = Event::JobSubmitted(Box::new(JobSubmitted {
            spec,
            deadline_at: None,
        }));
        vec![EventRecord {
            stream: StreamId::Job(self.id),
            version: 1,
            meta: meta(),
            event,
        }]
    }

    fn task(self, number: u32, version: u32, event: Event) -> EventRecord {
        EventRecord {
            stream: StreamId::Task(TaskId { job: self.id, number }),
            version,
            meta: meta(),
            event,
        }
    }

    pub fn ready(self, number: u32) -> EventRecord {
        self.task(
            number,
            1,
            Event::TaskReady(TaskReady {
                cause: ReadyCause::Submission,
            }),
        )
    }

    pub fn scheduled(self, number: u32) -> EventRecord {
        let scheduled = TaskScheduled {
            attempt: Attempt(1),
            worker: "w1".parse().unwrap(),
            incarnation: Incarnation(Uuid::from_u128(1)),
            start_by: Some(Timestamp::from_ms(grid::clock::now().as_ms() + 60_000)),
        };
        self.task(number, 2, Event::TaskScheduled(scheduled))
    }

    pub fn started(self, number: u32) -> EventRecord {
        self.task(
            number,
            3,
            Event::TaskStarted(TaskStarted {
                attempt: Attempt(1),
                run_by: None,
            }),
        )
    }

    pub fn ended(self, number: u32) -> EventRecord {
        let completed = TaskCompleted {
            attempt: Attempt(1),
            counters: Default::default(),
        };
        self.task(number, 4, Event::TaskCompleted(completed))
    }

    pub fn completed(self, number: u32) -> Vec<EventRecord> {
        vec![
            self.ready(number),
            self.scheduled(number),
            self.started(number),
            self.ended(number),
        ]
    }

    pub fn failed(self, number: u32) -> Vec<EventRecord> {
        let failure = Failure {
            exit_code: Some(2),
            ..Failure::new(FailureReason::Error, "it broke \0 here")
        };
        let failed = Event::TaskFailed(Box::new(TaskFailed {
            attempt: Attempt(1),
            from: TaskState::Running,
            r#final: true,
            attempt_open: false,
            failure,
        }));
        let mut records = vec![self.ready(number), self.scheduled(number), self.started(number)];
        records.extend([self.task(number, 4, failed)]);
        records
    }
}
