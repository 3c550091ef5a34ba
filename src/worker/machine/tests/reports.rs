//! When reports go out, and how often.

use std::time::Duration;

use super::super::*;
use super::given::*;
use crate::domain::ShardId;
use crate::event::{ReportItem, ReportKind};

#[test]
fn a_report_after_a_pause_goes_at_once_and_the_next_ones_together_within_5_ms() {
    let mut given = worker(3);
    given.assignments((1..=3).map(|n| assign(attempt(n))).collect()).take();
    given.input(Input::AttemptStarted(attempt(1)));
    assert_eq!(given.items(), [started(attempt(1))]);
    given.input(Input::AttemptStarted(attempt(2)));
    given.input(Input::AttemptEnded(attempt(1), completed()));
    given.input(Input::AttemptStarted(attempt(3)));
    assert_eq!(given.items(), []);
    assert_eq!(given.machine.next_wakeup(), Some(given.now + Duration::from_millis(5)));
    given.pass_ms(5);
    let reports = given.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        reports[0].items,
        [started(attempt(2)), ended(attempt(1), completed()), started(attempt(3))]
    );
}

#[test]
fn a_start_that_was_not_sent_before_the_end_is_not_sent() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1))]).take();
    let mut outputs = Vec::new();
    given
        .machine
        .handle(Input::AttemptStarted(attempt(1)), given.now, &mut outputs);
    given
        .machine
        .handle(Input::AttemptEnded(attempt(1), completed()), given.now, &mut outputs);
    given.machine.end_turn(given.now, &mut outputs);
    given.outputs = outputs;
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
}

#[test]
fn starts_and_ends_are_repeated_with_back_off_until_acknowledged() {
    let mut given = worker(2);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]).take();
    given.input(Input::AttemptStarted(attempt(1))).take();
    // 200 + 400 + 800 + 1600 + 3200 ms after one another, then every 5 s.
    for (ms, times) in [
        (199, 0),
        (1, 1),
        (399, 0),
        (1, 1),
        (5_599, 2),
        (1, 1),
        (4_999, 0),
        (1, 1),
        (5_000, 1),
    ] {
        given.pass_ms(ms);
        assert_eq!(given.items(), vec![started(attempt(1)); times], "after {ms} ms");
    }
    given
        .assignments(vec![ack(ReportKind::Started, attempt(1))])
        .pass_ms(9_000);
    assert_eq!(given.items(), []);
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
    given.pass_ms(200);
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
}

#[test]
fn a_new_owner_of_the_shard_is_told_all_at_once() {
    let mut given = worker(2);
    given
        .assignments(vec![assign(attempt(1)), assign(attempt(2))])
        .input(Input::AttemptStarted(attempt(1)));
    given
        .input(Input::AttemptEnded(attempt(2), completed()))
        .pass_ms(7_000)
        .take();
    given.under(6, vec![]);
    assert_eq!(given.items(), [started(attempt(1)), ended(attempt(2), completed())]);
    given.pass_ms(200);
    assert_eq!(given.items(), [started(attempt(1)), ended(attempt(2), completed())]);
}

#[test]
fn every_shard_gets_the_inventory_with_what_is_held() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]);
    given.input(Input::AttemptEnded(attempt(1), completed())).take();
    given.pass_ms(9_999).take();
    given.pass_ms(1);
    let inventories: Vec<_> = given
        .take()
        .into_iter()
        .filter_map(|output| match output {
            Output::Report { shard, message } => Some((shard, message.items)),
            _ => None,
        })
        .filter(|(_, items)| matches!(items.last(), Some(ReportItem::Inventory { .. })))
        .collect();
    let shards: Vec<ShardId> = inventories.iter().map(|(shard, _)| *shard).collect();
    assert_eq!(shards, (0..SHARDS).map(ShardId).collect::<Vec<_>>());
    for (shard, items) in inventories {
        let expected = if shard == ShardId(1) {
            vec![attempt(1), attempt(2)]
        } else {
            Vec::new()
        };
        assert_eq!(
            items.last(),
            Some(&ReportItem::Inventory {
                attempts: expected,
                standing: Standing::default()
            })
        );
    }
}

#[test]
fn an_inventory_follows_what_was_waiting_to_be_told() {
    let mut given = worker(2);
    given
        .assignments(vec![assign(attempt(1)), assign(attempt(2))])
        .pass_ms(9_998)
        .take();
    given.input(Input::AttemptStarted(attempt(1)));
    given.input(Input::AttemptStarted(attempt(2))).take();
    given.pass_ms(2);
    let report = given
        .reports()
        .into_iter()
        .find(|report| report.items.len() == 2)
        .unwrap();
    assert_eq!(report.items[0], started(attempt(2)));
    assert!(matches!(report.items[1], ReportItem::Inventory { .. }));
}

#[test]
fn long_failures_are_spread_over_messages() {
    let mut given = worker(10);
    given.assignments((1..=10).map(|n| assign(attempt(n))).collect()).take();
    let mut outputs = Vec::new();
    for n in 1..=10 {
        let mut failure = crate::domain::Failure::new(crate::domain::FailureReason::Error, "x".repeat(100_000));
        failure.causes = vec!["y".repeat(100_000)];
        let outcome = crate::event::Outcome::Failed { failure };
        given
            .machine
            .handle(Input::AttemptEnded(attempt(n), outcome), given.now, &mut outputs);
    }
    given.machine.end_turn(given.now, &mut outputs);
    given.outputs = outputs;
    let reports = given.reports();
    assert_eq!(
        reports.iter().map(|report| report.items.len()).collect::<Vec<_>>(),
        [3, 3, 3, 1]
    );
}
