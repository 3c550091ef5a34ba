//! Assignments, slots, the queue, cancellations, stops, acknowledgements.

use std::time::Duration;

use uuid::Uuid;

use super::super::*;
use super::given::*;
use crate::domain::{FailureReason, Incarnation};
use crate::event::{AssignmentItem, AttemptRef, Outcome, ReportItem, ReportKind};

fn end_reason(items: &[ReportItem], attempt: AttemptRef) -> Option<FailureReason> {
    items.iter().find_map(|item| match item {
        ReportItem::Ended {
            attempt: ended,
            outcome: Outcome::Failed { failure },
        } if *ended == attempt => Some(failure.reason),
        _ => None,
    })
}

#[test]
fn runs_as_many_as_it_has_slots_and_the_rest_in_order() {
    let mut given = worker(2);
    given.assignments((1..=4).map(|n| assign(attempt(n))).collect());
    assert_eq!(given.starts(), [attempt(1), attempt(2)]);
    given.input(Input::AttemptEnded(attempt(2), completed()));
    assert_eq!(given.starts(), [attempt(3)]);
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.starts(), [attempt(4)]);
    assert_eq!((given.machine.glance().running, given.machine.glance().queued), (2, 0));
}

#[test]
fn a_repeated_assignment_starts_nothing_and_repeats_what_is_known() {
    let mut given = worker(1);
    given
        .assignments(vec![assign(attempt(1))])
        .assignments(vec![assign(attempt(1))]);
    assert_eq!(given.starts(), [attempt(1)]);
    given.pass_ms(100).input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
    given.pass_ms(100).assignments(vec![assign(attempt(1))]);
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
}

#[test]
fn a_message_that_comes_twice_changes_nothing_even_when_its_attempt_is_forgotten() {
    let mut given = worker(1);
    let message = given.message(5, vec![assign(attempt(1))]);
    given.input(Input::Assignments {
        offset: 1,
        message: message.clone(),
    });
    given.input(Input::AttemptEnded(attempt(1), completed()));
    given.assignments(vec![ack(ReportKind::Ended, attempt(1))]).take();
    given.input(Input::Assignments { offset: 1, message });
    assert_eq!(given.starts(), []);
    assert_eq!(given.machine.held().count(), 0);
}

#[test]
fn drops_what_is_not_for_it() {
    let mut given = worker(1);
    let mut foreign = given.message(5, vec![assign(attempt(1))]);
    foreign.timeline = Uuid::from_u128(8);
    let mut earlier = given.message(5, vec![assign(attempt(1))]);
    earlier.incarnation = Incarnation(Uuid::from_u128(99));
    given.input(Input::Assignments {
        offset: 1,
        message: foreign,
    });
    given.input(Input::Assignments {
        offset: 2,
        message: earlier,
    });
    // Of a shard that its job does not belong to.
    given.assignments(vec![assign(attempt_in(2, 1))]);
    assert_eq!(given.starts(), []);
    assert_eq!(given.machine.totals().dropped, 3);
}

#[test]
fn an_earlier_epoch_is_dropped_but_its_credits_are_used() {
    let mut given = worker(4);
    given.beat_of(MASTER, false, 0);
    assert_eq!(given.machine.glance().outstanding, 4);
    given.under(6, vec![]).under(5, vec![assign(attempt(1))]);
    assert_eq!(given.starts(), []);
    // One is used, and since nothing is held it is granted anew.
    given.pass_ms(10);
    assert_eq!(given.granted(MASTER), 5);
    assert_eq!(given.machine.glance().outstanding, 4);
}

#[test]
fn what_waits_too_long_is_handed_back() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]);
    given.pass_ms(3_000).assignments(vec![assign(attempt(3))]);
    given.pass_ms(1_999);
    assert_eq!(given.items(), []);
    given.pass_ms(1);
    assert_eq!(given.items(), [ended(attempt(2), Outcome::HandedBack)]);
    given.pass_ms(3_000);
    assert!(given.items().contains(&ended(attempt(3), Outcome::HandedBack)));
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.starts(), []);
}

#[test]
fn cancel_ends_what_waits_at_once_and_what_runs_through_its_task() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]).take();
    let cancel = |n| AssignmentItem::Cancel { attempt: attempt(n) };
    given.assignments(vec![cancel(1), cancel(2), cancel(1)]);
    let cancels = given
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::Cancel { .. }))
        .count();
    assert_eq!(cancels, 1);
    given.pass_ms(10);
    assert_eq!(end_reason(&given.items(), attempt(2)), Some(FailureReason::Killed));
    // The process died of the signal: to the executor an error, to the job a kill.
    given.input(Input::AttemptEnded(attempt(1), failed(FailureReason::Error)));
    assert_eq!(end_reason(&given.items(), attempt(1)), Some(FailureReason::Killed));
}

#[test]
fn a_result_that_came_before_the_cancellation_stands() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1))]);
    given
        .assignments(vec![AssignmentItem::Cancel { attempt: attempt(1) }])
        .take();
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
}

#[test]
fn cancel_and_stop_of_the_unknown_are_answered_until_acknowledged() {
    let mut given = worker(1);
    given.assignments(vec![
        AssignmentItem::Cancel { attempt: attempt(1) },
        AssignmentItem::Stop { attempt: attempt(2) },
    ]);
    for _ in 0..2 {
        let items = given.items();
        assert_eq!(end_reason(&items, attempt(1)), Some(FailureReason::Killed));
        assert_eq!(end_reason(&items, attempt(2)), Some(FailureReason::Killed));
        given.pass_ms(300);
    }
    given
        .assignments(vec![
            ack(ReportKind::Ended, attempt(1)),
            ack(ReportKind::Ended, attempt(2)),
        ])
        .take();
    given.pass(Duration::from_secs(9), true);
    assert_eq!(given.items(), []);
    assert_eq!(given.machine.held().count(), 0);
}

#[test]
fn stop_goes_to_what_runs_and_ends_what_waits() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]).take();
    let stop = |n| AssignmentItem::Stop { attempt: attempt(n) };
    given.assignments(vec![stop(1), stop(2)]).pass_ms(10);
    assert!(given.outputs.contains(&Output::Stop { attempt: attempt(1) }));
    assert_eq!(end_reason(&given.items(), attempt(2)), Some(FailureReason::Killed));
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
}

#[test]
fn it_is_held_until_its_end_is_acknowledged() {
    let mut given = worker(1);
    given
        .assignments(vec![assign(attempt(1))])
        .input(Input::AttemptStarted(attempt(1)));
    given.assignments(vec![
        ack(ReportKind::Started, attempt(1)),
        ack(ReportKind::Ended, attempt(1)),
    ]);
    assert_eq!(given.machine.held().collect::<Vec<_>>(), [(attempt(1), false)]);
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.machine.held().collect::<Vec<_>>(), [(attempt(1), true)]);
    given.assignments(vec![ack(ReportKind::Ended, attempt(1))]);
    assert_eq!(given.machine.held().count(), 0);
    // A late word of its task is about nothing.
    given
        .input(Input::AttemptEnded(attempt(1), failed(FailureReason::Error)))
        .take();
    given.pass_ms(1_000);
    assert_eq!(given.items(), []);
}
