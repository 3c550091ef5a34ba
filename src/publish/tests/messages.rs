//! What goes out, and what a reader makes of it.

use bytes::Bytes;

use super::*;
use crate::domain::event::{TaskCompleted, WorkerEnd, WorkerLeft};
use crate::domain::{Attempt, Epoch, Incarnation, ShardId, TaskId};
use crate::publish::{Batch, ConsumerRule, Encoded, Incoming, NotAnEvent, Run, Verdict, encode};

const SOURCE: &str = "/grid/0198c2a0-7c00-7000-8000-0000000000ff";

fn encoded(items: Vec<Item>, after: u64, most_bytes: usize) -> Encoded {
    let run = Run {
        shard: ShardId(3),
        epoch: Epoch(7),
        after: Seq(after),
        items,
    };
    encode(
        &Batch { runs: vec![run] },
        &Bytes::from_static(SOURCE.as_bytes()),
        most_bytes,
    )
}

fn record(stream: StreamId, event: Event) -> Item {
    let record = EventRecord {
        stream,
        version: 4,
        meta: meta(),
        event,
    };
    Item {
        seq: Seq(12),
        stream,
        version: 4,
        payload: Bytes::from(record.encode()),
    }
}

#[test]
fn an_event_is_a_cloud_event_in_binary_mode() {
    let task = TaskId { job: job(), number: 2 };
    let event = Event::TaskCompleted(TaskCompleted {
        attempt: Attempt(1),
        counters: [("records_in".to_owned(), u64::MAX)].into(),
    });
    let encoded = encoded(vec![record(StreamId::Task(task), event)], 9, 10_000);
    let [(partition, message)] = &encoded.messages[..] else {
        panic!("{encoded:?}")
    };
    assert_eq!(*partition, 3);
    assert_eq!(message.key.as_deref(), Some(job().to_string().as_bytes()));
    assert_eq!(
        message.payload,
        r#"{"attempt":1,"counters":{"records_in":18446744073709551615}}"#
    );
    let headers: Vec<_> = message
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    assert_eq!(
        headers,
        [
            "ce_specversion: 1.0",
            "ce_id: 3-12",
            "ce_type: grid.TaskCompleted.v1",
            "ce_source: /grid/0198c2a0-7c00-7000-8000-0000000000ff",
            "ce_subject: task-0198c2a0-7c00-7000-8000-000000000001-2",
            "ce_time: 2025-08-19T10:40:00.000Z",
            "content-type: application/json",
            "ce_position: 12",
            "ce_prevposition: 9",
            "ce_epoch: 7",
            "ce_streamversion: 4",
            "ce_principal: api:ada",
            "ce_causationid: 00000000-0000-0000-0000-000000000000",
        ]
    );
    let incoming = Incoming::read(message).unwrap();
    assert_eq!(
        incoming,
        Incoming {
            source: SOURCE.into(),
            epoch: Epoch(7),
            position: Seq(12),
            previous: Seq(9)
        }
    );
}

#[test]
fn an_event_of_a_worker_is_keyed_by_its_name() {
    let incarnation = Incarnation(Uuid::nil());
    let left = WorkerLeft {
        worker: "a".parse().unwrap(),
        incarnation,
        cause: WorkerEnd::Lost,
    };
    let encoded = encoded(
        vec![record(StreamId::Worker(incarnation), Event::WorkerLeft(left))],
        0,
        10_000,
    );
    let (_, message) = &encoded.messages[0];
    assert_eq!(message.key.as_deref(), Some(&b"worker-a"[..]));
    assert_eq!(message.header("ce_subject").unwrap(), "worker-a");
}

#[test]
fn who_wants_everything_begins_where_nothing_comes_before() {
    let message = |epoch, position, previous| Incoming {
        source: SOURCE.into(),
        epoch: Epoch(epoch),
        position: Seq(position),
        previous: Seq(previous),
    };
    // A topic that was emptied, got its next events, and was then filled from the log.
    let topic = [
        message(4, 11, 10),
        message(4, 12, 11),
        message(5, 1, 0),
        message(5, 11, 1),
        message(4, 13, 12),
        message(5, 12, 11),
        message(6, 12, 11),
        message(6, 13, 12),
    ];
    let applied = |mut rule: ConsumerRule| -> Vec<u64> {
        let applies = |incoming: &&Incoming| rule.see(incoming) == Verdict::Apply;
        topic
            .iter()
            .filter(applies)
            .map(|incoming| incoming.position.0)
            .collect()
    };
    assert_eq!(applied(ConsumerRule::whole()), [1, 11, 12, 13]);
    assert_eq!(applied(ConsumerRule::default()), [11, 12, 13]);
    assert_eq!(
        applied(ConsumerRule::resume(SOURCE.into(), Epoch(4), Seq(11))),
        [12, 13]
    );
}

#[test]
fn what_cannot_be_published_is_passed_over_and_the_chain_closes_over_it() {
    let mut items = items(1..=4);
    items[1].payload = Bytes::from_static(b"{\"type\":");
    let encoded = encoded(items.clone(), 0, 10_000);
    let chain: Vec<_> = encoded
        .messages
        .iter()
        .map(|(_, message)| Incoming::read(message).unwrap())
        .collect();
    let places: Vec<_> = chain.iter().map(|it| (it.previous.0, it.position.0)).collect();
    assert_eq!(places, [(0, 1), (1, 3), (3, 4)]);
    assert_eq!(encoded.passed_over.len(), 1);
    assert_eq!(encoded.last_of(2), [(ShardId(3), Epoch(7), Seq(3))]);
    assert_eq!(encoded.last_of(0), []);
    assert_eq!(super::messages::encoded(items, 0, 10).passed_over.len(), 4);
}

fn incoming(epoch: u64, position: u64, previous: u64) -> Incoming {
    Incoming {
        source: SOURCE.into(),
        epoch: Epoch(epoch),
        position: Seq(position),
        previous: Seq(previous),
    }
}

fn verdicts(rule: &mut ConsumerRule, messages: &[(u64, u64, u64)]) -> Vec<Verdict> {
    messages
        .iter()
        .map(|(epoch, position, previous)| rule.see(&incoming(*epoch, *position, *previous)))
        .collect()
}

use Verdict::{Apply, Skip, StartOver, Wait};

#[test]
fn duplicates_and_messages_of_earlier_owners_are_skipped() {
    let mut rule = ConsumerRule::default();
    let seen = verdicts(
        &mut rule,
        &[
            (1, 1, 0),
            (1, 2, 1),
            (1, 2, 1),
            (2, 2, 1),
            (1, 3, 2),
            (2, 3, 2),
            (2, 5, 3),
        ],
    );
    assert_eq!(seen, [Apply, Apply, Skip, Skip, Skip, Apply, Apply]);
    assert_eq!(rule.have(), Some(Seq(5)));
}

#[test]
fn a_gap_is_waited_for() {
    let mut rule = ConsumerRule::default();
    let seen = verdicts(&mut rule, &[(1, 1, 0), (1, 3, 2), (1, 2, 1), (1, 3, 2)]);
    assert_eq!(seen, [Apply, Wait, Apply, Apply]);
}

#[test]
fn who_begins_in_the_middle_takes_the_first_and_the_first_of_a_higher_epoch_as_base() {
    let mut rule = ConsumerRule::default();
    let seen = verdicts(&mut rule, &[(1, 5, 4), (2, 9, 8), (2, 10, 9), (2, 12, 11)]);
    assert_eq!(seen, [Apply, Apply, Apply, Wait]);
}

#[test]
fn another_timeline_starts_over_and_the_old_one_is_done_with() {
    let mut rule = ConsumerRule::resume(SOURCE.into(), Epoch(4), Seq(9));
    let restored = Incoming {
        source: "/grid/other".into(),
        ..incoming(1_000_004, 1, 0)
    };
    assert_eq!(rule.see(&restored), StartOver);
    assert_eq!(rule.see(&incoming(4, 10, 9)), Skip);
    assert_eq!(
        rule.see(&Incoming {
            position: Seq(2),
            previous: Seq(1),
            ..restored
        }),
        Apply
    );
}

#[test]
fn other_messages_are_named() {
    let message = crate::bus::Message::new("x")
        .with_header("ce_source", "/grid/x")
        .with_header("ce_epoch", "seven");
    assert_eq!(Incoming::read(&message), Err(NotAnEvent("ce_epoch")));
}
