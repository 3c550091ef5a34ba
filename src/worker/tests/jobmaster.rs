//! A jobmaster played by hand: answers registrations, beats, assigns, reads reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::bus::SHARDS;
use crate::bus::{Bus, Message, Record, Start, Subscription, Topic};
use crate::clock;
use crate::domain::{Attempt, Epoch, ExecutorKind, Incarnation, JobId, ShardId, Standing, TaskId, WorkerName};
use crate::event::{
    Assignment, AssignmentItem, AssignmentMessage, AttemptRef, Beat, JobmasterBeat, Outcome, ReportItem, ReportKind,
    ReportMessage, Version, Wire,
};

pub(super) const TIMELINE: Uuid = Uuid::from_u128(7);
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits with a deadline: a test that hangs says where.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long: {what}"),
    }
}

pub(super) struct Jobmaster {
    bus: Arc<dyn Bus>,
    me: Incarnation,
    worker: WorkerName,
    pub(super) incarnation: Option<Incarnation>,
    /// A process that has begun since somebody asked.
    begun: Option<Incarnation>,
    /// It has said goodbye: in its reports, and by a heartbeat.
    left: bool,
    leaving: bool,
    heartbeats: Subscription,
    reports: Vec<Subscription>,
    /// Reported and not looked at.
    pub(super) items: Vec<ReportItem>,
    /// The highest total granted to this jobmaster by the present incarnation.
    pub(super) granted: u64,
    pub(super) charged: u64,
}

impl Jobmaster {
    pub(super) async fn new(bus: Arc<dyn Bus>, worker: &str) -> Self {
        let worker: WorkerName = worker.parse().unwrap();
        let heartbeats = bus.subscribe(Topic::Heartbeats, 0, Start::End).await.unwrap();
        let mut reports = Vec::new();
        for shard in 0..SHARDS {
            reports.push(bus.subscribe(Topic::Reports, shard, Start::Beginning).await.unwrap());
        }
        Self {
            bus,
            me: Incarnation(Uuid::now_v7()),
            worker,
            incarnation: None,
            begun: None,
            left: false,
            leaving: false,
            heartbeats,
            reports,
            items: Vec::new(),
            granted: 0,
            charged: 0,
        }
    }

    fn send(&self, topic: Topic, partition: u16, message: &impl Wire) {
        assert!(self.bus.post(topic, partition, Message::new(message.encode())));
    }

    /// Waits for a process of the worker other than the present one to begin, and accepts it.
    pub(super) async fn register(&mut self) -> Incarnation {
        loop {
            if let Some(begun) = self.begun.take() {
                return begun;
            }
            self.listen().await;
        }
    }

    /// Waits until the worker has said goodbye, and answers.
    pub(super) async fn see_off(&mut self) {
        while !(self.left && self.leaving) {
            self.listen().await;
        }
        self.tell(self.home(), vec![AssignmentItem::Removed {}]);
    }

    fn home(&self) -> ShardId {
        ShardId(self.worker.slot(SHARDS))
    }

    /// What a worker says of itself is answered at once; the rest is kept.
    fn take(&mut self, message: ReportMessage) {
        for item in message.items {
            match item {
                ReportItem::Began { .. } if self.incarnation <= Some(message.incarnation) => {
                    if self.incarnation != Some(message.incarnation) {
                        (self.incarnation, self.granted, self.charged) = (Some(message.incarnation), 0, 0);
                        self.begun = Some(message.incarnation);
                    }
                    assert_eq!(message.worker, self.worker);
                    self.tell(
                        self.home(),
                        vec![AssignmentItem::Registered {
                            standing: Standing::default(),
                        }],
                    );
                }
                ReportItem::Left {} => self.left |= Some(message.incarnation) == self.incarnation,
                item if Some(message.incarnation) == self.incarnation => self.items.push(item),
                _ => {}
            }
        }
        if Some(message.incarnation) == self.incarnation {
            self.note(&message.grants);
        }
    }

    pub(super) fn beat(&self, hungry: bool) {
        let beat = JobmasterBeat {
            v: Version,
            jobmaster: self.me,
            timeline: Some(TIMELINE),
            sent_at: clock::now(),
            hungry,
            leaving: false,
            returned: Vec::new(),
        };
        self.send(Topic::Heartbeats, 0, &Beat::Jobmaster(beat));
    }

    /// To the worker, from the shard of the attempts.
    pub(super) fn tell(&self, shard: ShardId, items: Vec<AssignmentItem>) {
        let message = AssignmentMessage {
            v: Version,
            timeline: TIMELINE,
            shard,
            epoch: Epoch(1),
            jobmaster: self.me,
            incarnation: self.incarnation.unwrap(),
            items,
        };
        let partitions = self.bus.partitions().of(Topic::Assignments);
        self.send(Topic::Assignments, self.worker.slot(partitions), &message);
    }

    pub(super) fn assign(&mut self, assignments: Vec<Assignment>) {
        self.charged += assignments.len() as u64;
        let mut by_shard: BTreeMap<ShardId, Vec<AssignmentItem>> = BTreeMap::new();
        for assignment in assignments {
            let shard = assignment.attempt.task.job.shard(SHARDS);
            by_shard
                .entry(shard)
                .or_default()
                .push(AssignmentItem::Assign { assignment });
        }
        by_shard.into_iter().for_each(|(shard, items)| self.tell(shard, items));
    }

    pub(super) fn acknowledge(&self, attempts: &[AttemptRef], kind: ReportKind) {
        let mut by_shard: BTreeMap<ShardId, Vec<AttemptRef>> = BTreeMap::new();
        for attempt in attempts {
            by_shard
                .entry(attempt.task.job.shard(SHARDS))
                .or_default()
                .push(*attempt);
        }
        for (shard, attempts) in by_shard {
            self.tell(shard, vec![AssignmentItem::Ack { kind, attempts }]);
        }
    }

    /// Waits for something to be said; what is said goes to `items`, grants are noted.
    pub(super) async fn listen(&mut self) {
        let mut records: Vec<Record> = Vec::new();
        let mut beats: Vec<Record> = Vec::new();
        {
            let reports = &mut self.reports;
            let heartbeats = &mut self.heartbeats;
            let any = std::future::poll_fn(|cx| {
                let mut ready = heartbeats.poll_recv_many(cx, &mut beats, 1_000).is_ready();
                for shard in &mut *reports {
                    ready |= shard.poll_recv_many(cx, &mut records, 1_000).is_ready();
                }
                if ready {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            });
            within("a report or a heartbeat", any).await;
        }
        for record in records {
            self.take(ReportMessage::decode(&record.message.payload).unwrap());
        }
        for record in beats {
            if let Beat::Worker(beat) = Beat::decode(&record.message.payload).unwrap()
                && Some(beat.incarnation) == self.incarnation
            {
                self.note(&beat.grants);
                self.leaving |= beat.leaving && beat.draining;
            }
        }
        for shard in 0..SHARDS {
            // The local bus keeps reports until they are trimmed.
            self.bus
                .trim(Topic::Reports, shard, self.reports[usize::from(shard)].position());
        }
    }

    fn note(&mut self, grants: &[crate::event::Grant]) {
        let mine = grants.iter().filter(|grant| grant.jobmaster == self.me);
        self.granted = mine.fold(self.granted, |most, grant| most.max(grant.granted));
    }

    pub(super) fn credits(&self) -> u64 {
        self.granted - self.charged
    }

    /// Waits until the attempt has ended; acknowledges it.
    pub(super) async fn end_of(&mut self, attempt: AttemptRef) -> Outcome {
        loop {
            let found = self.items.iter().find_map(|item| match item {
                ReportItem::Ended {
                    attempt: ended,
                    outcome,
                } if *ended == attempt => Some(outcome.clone()),
                _ => None,
            });
            if let Some(outcome) = found {
                self.acknowledge(&[attempt], ReportKind::Ended);
                return outcome;
            }
            self.listen().await;
        }
    }

    pub(super) async fn start_of(&mut self, attempt: AttemptRef) {
        while !self.items.contains(&ReportItem::Started { attempt }) {
            self.listen().await;
        }
        self.acknowledge(&[attempt], ReportKind::Started);
    }
}

pub(super) fn attempt(number: u32) -> AttemptRef {
    let job = JobId(Uuid::from_u128(
        0x0198_c2a0_7c00_7000_8000_0000_0000_0000 + u128::from(number % 16),
    ));
    AttemptRef {
        task: TaskId { job, number },
        attempt: Attempt(1),
    }
}

pub(super) fn assignment(number: u32, executor: ExecutorKind, document_hash: &str, group_index: u32) -> Assignment {
    Assignment {
        attempt: attempt(number),
        executor,
        document_hash: document_hash.to_owned(),
        external_id: "a".into(),
        group_index,
        replica_index: 0,
        replica_count: 1,
        charged: true,
        traceparent: None,
    }
}

pub(super) fn noop(number: u32) -> Assignment {
    assignment(number, ExecutorKind::Noop, "00", 0)
}
