//! A machine with a clock, and short words for what goes in and comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::super::*;
use crate::domain::{
    Attempt, Epoch, ExecutorKind, Failure, FailureReason, Incarnation, JobId, ShardId, Standing, TaskId, Timestamp,
};
use crate::event::{
    Assignment, AssignmentItem, AssignmentMessage, AttemptRef, Beat, JobmasterBeat, Outcome, ReportItem, ReportKind,
    ReportMessage, ReturnedCredits, Version, WorkerBeat,
};

pub(super) const TIMELINE: Uuid = Uuid::from_u128(7);
pub(super) const ME: Incarnation = Incarnation(Uuid::from_u128(100));
pub(super) const MASTER: Incarnation = Incarnation(Uuid::from_u128(200));
pub(super) const OTHER: Incarnation = Incarnation(Uuid::from_u128(201));
pub(super) const SHARDS: u16 = 4;

/// A job of the given shard; `number` tells jobs of one shard apart.
pub(super) fn attempt_in(shard: u16, number: u32) -> AttemptRef {
    let job = (0..)
        .map(|low| JobId(Uuid::from_u128(low)))
        .find(|job| job.shard(SHARDS).0 == shard);
    AttemptRef {
        task: TaskId {
            job: job.unwrap(),
            number,
        },
        attempt: Attempt(1),
    }
}

pub(super) fn attempt(number: u32) -> AttemptRef {
    attempt_in(1, number)
}

pub(super) fn assignment(attempt: AttemptRef) -> Assignment {
    Assignment {
        attempt,
        executor: ExecutorKind::Noop,
        document_hash: "00".into(),
        external_id: "a".into(),
        group_index: 0,
        replica_index: 0,
        replica_count: 1,
        charged: true,
        traceparent: None,
    }
}

pub(super) fn assign(attempt: AttemptRef) -> AssignmentItem {
    AssignmentItem::Assign {
        assignment: assignment(attempt),
    }
}

pub(super) fn ack(kind: ReportKind, attempt: AttemptRef) -> AssignmentItem {
    AssignmentItem::Ack {
        kind,
        attempts: vec![attempt],
    }
}

pub(super) fn completed() -> Outcome {
    Outcome::Completed {
        counters: BTreeMap::new(),
    }
}

pub(super) fn failed(reason: FailureReason) -> Outcome {
    Outcome::Failed {
        failure: Failure::new(reason, "it broke"),
    }
}

pub(super) struct Given {
    pub(super) machine: WorkerMachine,
    pub(super) now: Timestamp,
    pub(super) offset: i64,
    pub(super) outputs: Vec<Output>,
}

/// A worker with `slots`, not yet registered.
pub(super) fn fresh(options: WorkerOptions) -> Given {
    let now = Timestamp::from_ms(1_000_000);
    let identity = Identity {
        worker: "a".parse().unwrap(),
        incarnation: ME,
        timeline: TIMELINE,
        shards: SHARDS,
        endpoint_url: "http://here".into(),
    };
    Given {
        machine: WorkerMachine::new(identity, options, now).unwrap(),
        now,
        offset: 0,
        outputs: Vec::new(),
    }
}

/// A registered worker whose bus acknowledges its heartbeats.
pub(super) fn worker(slots: u32) -> Given {
    let mut given = fresh(WorkerOptions {
        slots,
        ..WorkerOptions::default()
    });
    given.input(Input::Tick);
    given.register();
    given.outputs.clear();
    given
}

impl Given {
    pub(super) fn input(&mut self, input: Input) -> &mut Self {
        let outputs = self.machine.step(input, self.now);
        self.outputs.extend(outputs);
        self
    }

    pub(super) fn register(&mut self) -> &mut Self {
        self.home_says(AssignmentItem::Registered {
            standing: Standing::default(),
        })
    }

    /// From the shard that keeps the worker's history.
    pub(super) fn home_says(&mut self, item: AssignmentItem) -> &mut Self {
        let mut message = self.message(1, vec![item]);
        message.shard = ShardId(self.machine.identity().worker.slot(SHARDS));
        let offset = self.offset;
        self.input(Input::Assignments { offset, message })
    }

    pub(super) fn message(&mut self, epoch: u64, items: Vec<AssignmentItem>) -> AssignmentMessage {
        self.offset += 1;
        AssignmentMessage {
            v: Version,
            timeline: TIMELINE,
            shard: ShardId(1),
            epoch: Epoch(epoch),
            jobmaster: MASTER,
            incarnation: ME,
            items,
        }
    }

    /// From shard 1 under epoch 5.
    pub(super) fn assignments(&mut self, items: Vec<AssignmentItem>) -> &mut Self {
        self.under(5, items)
    }

    pub(super) fn under(&mut self, epoch: u64, items: Vec<AssignmentItem>) -> &mut Self {
        let message = self.message(epoch, items);
        let offset = self.offset;
        self.input(Input::Assignments { offset, message })
    }

    pub(super) fn beat_of(&mut self, jobmaster: Incarnation, hungry: bool, returned: u64) -> &mut Self {
        self.beat_with(jobmaster, hungry, returned, false)
    }

    /// `unwanted`: nothing that waits there may run on this worker.
    pub(super) fn beat_with(
        &mut self,
        jobmaster: Incarnation,
        hungry: bool,
        returned: u64,
        unwanted: bool,
    ) -> &mut Self {
        self.input(Input::Beat(Beat::Jobmaster(JobmasterBeat {
            v: Version,
            jobmaster,
            timeline: Some(TIMELINE),
            sent_at: self.now,
            hungry,
            leaving: false,
            returned: vec![ReturnedCredits {
                worker: ME,
                returned,
                used: 0,
                unwanted,
            }],
        })))
    }

    /// Time passes with a turn wherever the machine asks for one; heartbeats are acknowledged when `heard`.
    pub(super) fn pass(&mut self, duration: Duration, heard: bool) -> &mut Self {
        let end = self.now + duration;
        loop {
            let next = self.machine.next_wakeup().filter(|next| *next <= end);
            self.now = next.unwrap_or(end).max(self.now);
            let mut outputs = self.machine.step(Input::Tick, self.now);
            let mut next_output = 0;
            while let (true, Some(output)) = (heard, outputs.get(next_output)) {
                next_output += 1;
                if let Output::Beat(beat) = output {
                    let sent_at = beat.sent_at;
                    outputs.extend(self.machine.step(Input::BeatAcknowledged { sent_at }, self.now));
                }
            }
            self.outputs.extend(outputs);
            if next.is_none() {
                return self;
            }
        }
    }

    pub(super) fn pass_ms(&mut self, ms: u64) -> &mut Self {
        self.pass(Duration::from_millis(ms), true)
    }

    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// What came out, of which sort, since the last look.
    pub(super) fn starts(&mut self) -> Vec<AttemptRef> {
        let started = self.take().into_iter().filter_map(|output| match output {
            Output::Start { assignment, .. } => Some(assignment.attempt),
            _ => None,
        });
        started.collect()
    }

    pub(super) fn reports(&mut self) -> Vec<ReportMessage> {
        let reports = self.take().into_iter().filter_map(|output| match output {
            Output::Report { message, .. } => Some(message),
            _ => None,
        });
        reports.collect()
    }

    /// What was reported of attempts, without inventories.
    pub(super) fn items(&mut self) -> Vec<ReportItem> {
        let items = self.reports().into_iter().flat_map(|report| report.items);
        items
            .filter(|item| matches!(item, ReportItem::Started { .. } | ReportItem::Ended { .. }))
            .collect()
    }

    pub(super) fn beats(&mut self) -> Vec<WorkerBeat> {
        let beats = self.take().into_iter().filter_map(|output| match output {
            Output::Beat(beat) => Some(beat),
            _ => None,
        });
        beats.collect()
    }

    pub(super) fn exits(&mut self) -> Vec<ExitReason> {
        let exits = self.take().into_iter().filter_map(|output| match output {
            Output::Exit { reason } => Some(reason),
            _ => None,
        });
        exits.collect()
    }

    /// The highest total granted to a jobmaster in what came out.
    pub(super) fn granted(&mut self, jobmaster: Incarnation) -> u64 {
        let all = self.take().into_iter().flat_map(|output| match output {
            Output::Beat(beat) => beat.grants,
            Output::Report { message, .. } => message.grants,
            _ => Vec::new(),
        });
        all.filter(|grant| grant.jobmaster == jobmaster)
            .map(|grant| grant.granted)
            .max()
            .unwrap_or(0)
    }
}

pub(super) fn started(attempt: AttemptRef) -> ReportItem {
    ReportItem::Started { attempt }
}

pub(super) fn ended(attempt: AttemptRef, outcome: Outcome) -> ReportItem {
    ReportItem::Ended { attempt, outcome }
}
