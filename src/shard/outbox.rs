//! Outputs of a commit onto the bus: one message for each worker process, one for each answer.
//!
//! Must stay true: no message to a worker comes near the bus's limit, however much a shard has to say at once. One that
//! does not fit would be lost, what it answers would be reported again, and the next one would be longer. And what is said
//! of an attempt stays in its order: a worker forgets an attempt whose end is acknowledged, and would begin it once more if
//! it were assigned again behind that.

use std::collections::BTreeMap;

use super::host::Host;
use super::staging::Output;
use crate::bus::{Message, Topic};
use crate::domain::{Epoch, Incarnation, Refusal, ShardId, WorkerName};
use crate::event::{Accepted, AssignmentItem, AssignmentMessage, Reply, ReplyAddress, Version, Wire};

/// A message is closed at this size; names of tasks are short, so that no item takes a large part of it.
const MESSAGE_BYTES: usize = 512 * 1024;
/// About what an attempt takes in a message.
const ATTEMPT_BYTES: usize = 90;
/// About what an assignment takes, besides its name.
const ASSIGNMENT_BYTES: usize = 400;
/// What a trace context takes besides its text.
const TRACEPARENT_BYTES: usize = 20;

/// What one commit says to one worker process.
#[derive(Debug, Default)]
struct Parcel {
    closed: Vec<Vec<AssignmentItem>>,
    open: Vec<AssignmentItem>,
    bytes: usize,
    /// Where the acknowledgements of each kind stand in the open one.
    acks: [Option<usize>; 2],
}

/// What one commit says, by who is told.
#[derive(Debug, Default)]
pub struct Letters {
    pub replies: Vec<(ReplyAddress, Result<Accepted, Refusal>)>,
    /// One message each, in the order in which they are to be sent.
    pub messages: Vec<(WorkerName, Incarnation, Vec<AssignmentItem>)>,
}

impl Letters {
    pub fn of(outputs: Vec<Output>) -> Self {
        let mut replies = Vec::new();
        let mut parcels: BTreeMap<Incarnation, (WorkerName, Parcel)> = BTreeMap::new();
        for output in outputs {
            let (worker, incarnation, item) = match output {
                Output::Reply { to, result } => {
                    replies.push((to, result));
                    continue;
                }
                Output::Tell {
                    worker,
                    incarnation,
                    answer,
                } => (worker, incarnation, answer.into()),
                Output::Assign {
                    worker,
                    incarnation,
                    assignment,
                } => (worker, incarnation, AssignmentItem::Assign { assignment }),
                Output::Cancel {
                    worker,
                    incarnation,
                    attempt,
                } => (worker, incarnation, AssignmentItem::Cancel { attempt }),
                Output::Stop {
                    worker,
                    incarnation,
                    attempt,
                } => (worker, incarnation, AssignmentItem::Stop { attempt }),
                Output::Standing {
                    worker,
                    incarnation,
                    standing,
                } => (worker, incarnation, AssignmentItem::Standing { standing }),
                Output::Ack {
                    worker,
                    incarnation,
                    kind,
                    attempt,
                } => {
                    let attempts = vec![attempt];
                    (worker, incarnation, AssignmentItem::Ack { kind, attempts })
                }
            };
            let (_, parcel) = parcels
                .entry(incarnation)
                .or_insert_with(|| (worker, Parcel::default()));
            parcel.add(item);
        }
        let messages = parcels.into_iter().flat_map(|(incarnation, (worker, parcel))| {
            let messages = parcel.finish().into_iter();
            messages.map(move |items| (worker.clone(), incarnation, items))
        });
        Self {
            replies,
            messages: messages.collect(),
        }
    }
}

/// Sends what waited for a commit of the shard.
pub(super) fn send(host: &Host, shard: ShardId, epoch: Epoch, outputs: Vec<Output>) {
    let Letters { replies, messages } = Letters::of(outputs);
    for (to, result) in replies {
        let reply = Reply {
            v: Version,
            node: to.node,
            correlation: to.correlation,
            result,
        };
        host.bus
            .post(Topic::Replies, to.partition, Message::new(reply.encode()));
    }
    let partitions = host.bus.partitions().of(Topic::Assignments);
    for (worker, incarnation, items) in messages {
        let message = AssignmentMessage {
            v: Version,
            timeline: host.timeline,
            shard,
            epoch,
            jobmaster: host.jobmaster,
            incarnation,
            items,
        };
        // What is lost here is sent again after the worker's next inventory, or asked for again by its reports.
        host.bus.post(
            Topic::Assignments,
            worker.slot(partitions),
            Message::new(message.encode()),
        );
    }
}

impl Parcel {
    fn add(&mut self, item: AssignmentItem) {
        self.bytes += match &item {
            AssignmentItem::Assign { assignment } => {
                let traceparent = assignment
                    .traceparent
                    .as_ref()
                    .map_or(0, |text| text.len() + TRACEPARENT_BYTES);
                ASSIGNMENT_BYTES + assignment.external_id.len() + traceparent
            }
            AssignmentItem::Cancel { .. }
            | AssignmentItem::Stop { .. }
            | AssignmentItem::Standing { .. }
            | AssignmentItem::Registered { .. }
            | AssignmentItem::Superseded {}
            | AssignmentItem::Removed {} => 2 * ATTEMPT_BYTES,
            AssignmentItem::Ack { attempts, .. } => ATTEMPT_BYTES * attempts.len(),
        };
        if let Some(item) = self.join(item) {
            self.open.push(item);
        }
        if self.bytes >= MESSAGE_BYTES {
            (self.bytes, self.acks) = (0, [None; 2]);
            self.closed.push(std::mem::take(&mut self.open));
        }
    }

    /// Acknowledgements of one kind become one, which comes early: nothing that a worker is told waits for them. But none
    /// comes before what is said of an attempt that may have ended since: that it is assigned (again), cancelled, stopped.
    fn join(&mut self, item: AssignmentItem) -> Option<AssignmentItem> {
        let AssignmentItem::Ack { kind, attempts: more } = item else {
            // Of one that is assigned for the first time nothing is known before it is sent.
            let is_new = matches!(&item, AssignmentItem::Assign { assignment } if assignment.charged);
            if !is_new && !mutant!(HastyAcknowledgement) {
                self.acks = [None; 2];
            }
            return Some(item);
        };
        let place = self.acks[kind as usize];
        match place.and_then(|place| self.open.get_mut(place)) {
            Some(AssignmentItem::Ack { attempts, .. }) => {
                attempts.extend(more);
                None
            }
            _ => {
                self.acks[kind as usize] = Some(self.open.len());
                Some(AssignmentItem::Ack { kind, attempts: more })
            }
        }
    }

    fn finish(mut self) -> Vec<Vec<AssignmentItem>> {
        if !self.open.is_empty() {
            self.closed.push(self.open);
        }
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Attempt, ExecutorKind, JobId, TaskId};
    use crate::event::{Assignment, AttemptRef, ReportKind};

    fn attempt(number: u32) -> AttemptRef {
        AttemptRef {
            task: TaskId {
                job: JobId(uuid::Uuid::max()),
                number,
            },
            attempt: Attempt(u32::MAX),
        }
    }

    /// For the first time, or once more.
    fn assignment(number: u32, charged: bool) -> AssignmentItem {
        AssignmentItem::Assign {
            assignment: Assignment {
                attempt: attempt(number),
                executor: ExecutorKind::Pipeline,
                document_hash: "f".repeat(64),
                external_id: "x".repeat(100),
                group_index: u32::MAX,
                replica_index: u32::MAX,
                replica_count: u32::MAX,
                charged,
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            },
        }
    }

    fn ack(kind: ReportKind, number: u32) -> AssignmentItem {
        AssignmentItem::Ack {
            kind,
            attempts: vec![attempt(number)],
        }
    }

    fn bytes(items: &[AssignmentItem]) -> usize {
        serde_json::to_vec(items).unwrap().len()
    }

    #[test]
    fn acknowledgements_become_one_of_each_kind() {
        let mut parcel = Parcel::default();
        for number in 1..=3 {
            parcel.add(ack(ReportKind::Started, number));
            parcel.add(assignment(number + 10, true));
            parcel.add(ack(ReportKind::Ended, number));
        }
        let messages = parcel.finish();
        let all = |kind| AssignmentItem::Ack {
            kind,
            attempts: vec![attempt(1), attempt(2), attempt(3)],
        };
        let [items] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!(
            *items,
            [
                all(ReportKind::Started),
                assignment(11, true),
                all(ReportKind::Ended),
                assignment(12, true),
                assignment(13, true),
            ]
        );
    }

    #[test]
    fn an_acknowledgement_comes_behind_what_was_said_of_its_attempt() {
        for said in [
            assignment(2, false),
            AssignmentItem::Cancel { attempt: attempt(2) },
            AssignmentItem::Stop { attempt: attempt(2) },
        ] {
            let mut parcel = Parcel::default();
            // An inventory that lacks the second attempt, before the report of its end.
            for item in [
                ack(ReportKind::Ended, 1),
                said.clone(),
                ack(ReportKind::Ended, 2),
                ack(ReportKind::Ended, 3),
            ] {
                parcel.add(item);
            }
            let messages = parcel.finish();
            let last = AssignmentItem::Ack {
                kind: ReportKind::Ended,
                attempts: vec![attempt(2), attempt(3)],
            };
            assert_eq!(messages, [vec![ack(ReportKind::Ended, 1), said, last]]);
        }
    }

    #[test]
    fn much_to_say_is_spread_over_messages_and_nothing_is_left_out() {
        let mut parcel = Parcel::default();
        for number in 1..=30_000 {
            parcel.add(ack(ReportKind::Ended, number));
            parcel.add(assignment(number, true));
        }
        let messages = parcel.finish();
        let (mut acknowledged, mut assigned) = (Vec::new(), Vec::new());
        for items in &messages {
            // Well under the limit, and no message of a few items either.
            assert!(bytes(items) < 1024 * 1024, "{}", bytes(items));
            for item in items {
                match item {
                    AssignmentItem::Ack { attempts, .. } => {
                        acknowledged.extend(attempts.iter().map(|attempt| attempt.task.number));
                    }
                    AssignmentItem::Assign { assignment } => assigned.push(assignment.attempt.task.number),
                    other => panic!("{other:?}"),
                }
            }
        }
        let all: Vec<u32> = (1..=30_000).collect();
        assert_eq!((acknowledged, assigned), (all.clone(), all));
        assert!(messages.len() < 60, "{}", messages.len());
    }
}
