//! Outputs of a commit onto the bus: one message for each worker process, one for each answer.

use std::collections::BTreeMap;

use super::host::Host;
use super::staging::Output;
use crate::bus::{Message, Topic};
use crate::domain::{Epoch, Incarnation, ShardId, WorkerName};
use crate::event::{AssignmentItem, AssignmentMessage, Reply, Version, Wire};

type Messages = BTreeMap<Incarnation, (WorkerName, Vec<AssignmentItem>)>;

/// Sends what waited for a commit of the shard.
pub(super) fn send(host: &Host, shard: ShardId, epoch: Epoch, outputs: Vec<Output>) {
    let mut messages = Messages::new();
    for output in outputs {
        let (worker, incarnation, item) = match output {
            Output::Reply { to, result } => {
                let reply = Reply {
                    v: Version,
                    node: to.node,
                    correlation: to.correlation,
                    result,
                };
                host.bus
                    .post(Topic::Replies, to.partition, Message::new(reply.encode()));
                continue;
            }
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
        let (_, items) = messages.entry(incarnation).or_insert_with(|| (worker, Vec::new()));
        add(items, item);
    }
    let partitions = host.bus.partitions().of(Topic::Assignments);
    for (incarnation, (worker, items)) in messages {
        let message = AssignmentMessage {
            v: Version,
            timeline: host.timeline,
            shard,
            epoch,
            jobmaster: host.jobmaster,
            incarnation,
            items,
        };
        let partition = worker.slot(partitions);
        // What is lost here is sent again after the worker's next inventory, or asked for again by its reports.
        host.bus
            .post(Topic::Assignments, partition, Message::new(message.encode()));
    }
}

fn add(items: &mut Vec<AssignmentItem>, item: AssignmentItem) {
    match (items.last_mut(), item) {
        // Acknowledgements that follow each other become one.
        (Some(AssignmentItem::Ack { kind: last, attempts }), AssignmentItem::Ack { kind, attempts: more })
            if *last == kind =>
        {
            attempts.extend(more);
        }
        (_, item) => items.push(item),
    }
}
