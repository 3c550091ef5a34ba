//! The machine alone: what it wants done, when.

use super::*;
use crate::domain::{Epoch, ShardId};
use crate::publish::{Asked, Batch, Machine, Next, Options};

const A: ShardId = ShardId(0);
const B: ShardId = ShardId(1);
const ONE: Epoch = Epoch(1);

fn machine(options: Options) -> Machine {
    let mut machine = Machine::new(options);
    machine.own(A, ONE, Seq(1), Seq(0));
    machine
}

fn few() -> Options {
    Options {
        batch_messages: 3,
        page_events: 4,
        ..Options::default()
    }
}

fn published(next: &Next) -> Vec<(u16, u64, Vec<u64>)> {
    let Next::Publish(Batch { runs }) = next else {
        panic!("{next:?}")
    };
    runs.iter()
        .map(|run| {
            (
                run.shard.0,
                run.after.0,
                run.items.iter().map(|item| item.seq.0).collect(),
            )
        })
        .collect()
}

fn asked(next: &Next) -> Asked {
    let Next::Read { asked, .. } = next else {
        panic!("{next:?}")
    };
    *asked
}

#[test]
fn what_is_committed_goes_out_one_batch_at_a_time() {
    let mut machine = machine(few());
    assert_eq!(machine.next(NOW), Next::Idle);
    machine.feed(A, ONE, items(1..=4));
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![1, 2, 3])]);
    assert_eq!(machine.next(NOW), Next::Idle);
    assert_eq!(machine.published(A), Some(Seq(0)));
    machine.delivered(&[(A, ONE, Seq(3))], true, NOW);
    assert_eq!(machine.published(A), Some(Seq(3)));
    assert_eq!(published(&machine.next(NOW)), [(0, 3, vec![4])]);
    machine.delivered(&[(A, ONE, Seq(4))], true, NOW);
    assert_eq!((machine.next(NOW), machine.backlog()), (Next::Idle, (0, 0)));
}

#[test]
fn shards_take_turns() {
    let mut machine = machine(few());
    machine.own(B, ONE, Seq(1), Seq(0));
    machine.feed(A, ONE, items(1..=7));
    machine.feed(B, ONE, items(1..=2));
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![1, 2, 3])]);
    machine.delivered(&[(A, ONE, Seq(3))], true, NOW);
    assert_eq!(published(&machine.next(NOW)), [(1, 0, vec![1, 2]), (0, 3, vec![4])]);
}

#[test]
fn a_new_owner_begins_with_the_log_after_the_cursor() {
    let mut machine = Machine::new(few());
    machine.own(A, ONE, Seq(8), Seq(2));
    let first = asked(&machine.next(NOW));
    assert_eq!(
        first,
        Asked {
            shard: A,
            epoch: ONE,
            after: Seq(2)
        }
    );
    // Meanwhile commits go on; what is heard of is not read again.
    machine.feed(A, ONE, items(8..=9));
    machine.page(first, items(3..=6), Seq(6), NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 2, vec![3, 4, 5])]);
    machine.delivered(&[(A, ONE, Seq(5))], true, NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 5, vec![6])]);
    machine.delivered(&[(A, ONE, Seq(6))], true, NOW);
    let second = asked(&machine.next(NOW));
    assert_eq!(second.after, Seq(6));
    machine.page(second, items(7..=7), Seq(7), NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 6, vec![7, 8, 9])]);
}

#[test]
fn what_does_not_fit_is_read_from_the_log() {
    let cost = item(1).payload.len() as u64 + 128;
    let mut machine = machine(Options {
        shard_bytes: 2 * cost + 20,
        ..few()
    });
    machine.feed(A, ONE, items(1..=9));
    assert!(machine.backlog().1 <= 2 * cost + 20);
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![1, 2])]);
    machine.delivered(&[(A, ONE, Seq(2))], true, NOW);
    assert_eq!(asked(&machine.next(NOW)).after, Seq(2));
}

#[test]
fn a_commit_that_nobody_told_of_is_read_from_the_log() {
    let mut machine = machine(few());
    machine.feed(A, ONE, items(4..=5));
    let asked = asked(&machine.next(NOW));
    assert_eq!(asked.after, Seq(0));
    machine.page(asked, items(1..=4), Seq(4), NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![1, 2, 3])]);
    machine.delivered(&[(A, ONE, Seq(3))], true, NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 3, vec![4, 5])]);
}

#[test]
fn after_a_failure_all_shards_begin_again_at_their_cursors() {
    let mut machine = machine(few());
    machine.own(B, ONE, Seq(1), Seq(0));
    machine.feed(A, ONE, items(1..=2));
    machine.feed(B, ONE, items(1..=1));
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![1, 2]), (1, 0, vec![1])]);
    machine.delivered(&[(A, ONE, Seq(1))], false, NOW);
    let Next::Wait(until) = machine.next(NOW) else {
        panic!("it does not pause")
    };
    assert_eq!(until, NOW + machine.options().pause);
    assert_eq!(machine.next(until), Next::Resume);
    machine.resumed();
    let first = asked(&machine.next(until));
    assert_eq!((first.shard, first.after), (A, Seq(1)));
    machine.page(first, items(2..=2), Seq(2), until);
    // Reading and publishing take turns.
    assert_eq!(published(&machine.next(until)), [(0, 1, vec![2])]);
    machine.delivered(&[(A, ONE, Seq(2))], true, until);
    let second = asked(&machine.next(until));
    assert_eq!((second.shard, second.after), (B, Seq(0)));
    machine.page(second, items(1..=1), Seq(1), until);
    assert_eq!(published(&machine.next(until)), [(1, 0, vec![1])]);
}

#[test]
fn answers_to_an_earlier_ownership_change_nothing() {
    let mut machine = machine(few());
    machine.feed(A, ONE, items(1..=2));
    assert_eq!(published(&machine.next(NOW)).len(), 1);
    machine.disown(A);
    assert_eq!(machine.published(A), None);
    machine.own(A, Epoch(3), Seq(3), Seq(0));
    machine.delivered(&[(A, ONE, Seq(2))], true, NOW);
    assert_eq!(machine.published(A), Some(Seq(0)));
    machine.feed(A, ONE, items(3..=3));
    let asked = asked(&machine.next(NOW));
    machine.page(Asked { epoch: ONE, ..asked }, items(1..=1), Seq(1), NOW);
    machine.page(Asked { after: Seq(1), ..asked }, items(2..=2), Seq(2), NOW);
    assert_eq!(machine.next(NOW), Next::Idle);
    machine.page(asked, items(1..=2), Seq(2), NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![1, 2])]);
}

#[test]
fn a_log_that_cannot_be_read_or_is_behind_is_asked_again_after_a_pause() {
    let mut machine = machine(few());
    machine.feed(A, ONE, items(2..=2));
    let first = asked(&machine.next(NOW));
    machine.unread(first, NOW);
    let Next::Wait(until) = machine.next(NOW) else {
        panic!("it does not pause")
    };
    assert_eq!(asked(&machine.next(until)), first);
    machine.page(first, Vec::new(), Seq(0), until);
    assert_eq!(machine.next(until), Next::Wait(until + machine.options().pause));
}

#[test]
fn days_that_were_dropped_are_no_reason_to_stop() {
    let mut machine = Machine::new(few());
    machine.own(A, ONE, Seq(21), Seq(0));
    let first = asked(&machine.next(NOW));
    machine.page(first, Vec::new(), Seq(19), NOW);
    let second = asked(&machine.next(NOW));
    assert_eq!(second.after, Seq(19));
    machine.page(second, items(20..=20), Seq(20), NOW);
    assert_eq!(published(&machine.next(NOW)), [(0, 0, vec![20])]);
}
