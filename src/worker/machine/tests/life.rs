//! Registration, heartbeats, being cut off, superseded, draining.

use std::time::Duration;

use uuid::Uuid;

use super::super::*;
use super::given::*;
use crate::domain::{FailureReason, Incarnation, ShardId, Standing};
use crate::event::{AssignmentItem, Beat, Outcome, ReportItem, ReportKind};

/// What it says of itself, and to which shard.
fn of_itself(outputs: Vec<Output>) -> Vec<(ShardId, ReportItem)> {
    let reports = outputs.into_iter().filter_map(|output| match output {
        Output::Report { shard, message } => Some(message.items.into_iter().map(move |item| (shard, item))),
        _ => None,
    });
    let of_itself = |(_, item): &(ShardId, ReportItem)| matches!(item, ReportItem::Began { .. } | ReportItem::Left {});
    reports.flatten().filter(of_itself).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn it_registers_at_the_shard_of_its_name_until_it_is_answered() {
    let mut given = fresh(WorkerOptions::default());
    given.pass(Duration::from_millis(2_500), true);
    let sent = of_itself(given.take());
    assert_eq!(sent.len(), 3);
    for (shard, item) in &sent {
        assert_eq!(shard.0, given.machine.identity().worker.slot(SHARDS));
        let ReportItem::Began { not_after, .. } = item else {
            panic!("{item:?}")
        };
        assert!(*not_after > given.now + secs(20));
    }
    // Of another process of its name.
    let registered = AssignmentItem::Registered {
        standing: Standing::default(),
    };
    let mut other = given.message(1, vec![registered]);
    other.incarnation = OTHER;
    let offset = given.offset;
    given.input(Input::Assignments { offset, message: other });
    assert!(!given.machine.glance().registered);
    given.register().pass(secs(5), true);
    assert!(given.machine.glance().registered);
    assert_eq!(of_itself(given.take()), []);
}

#[test]
fn an_older_process_is_told_to_go() {
    let mut given = fresh(WorkerOptions::default());
    given.home_says(AssignmentItem::Superseded {});
    assert_eq!(given.exits(), [ExitReason::Superseded]);

    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1))]).pass(secs(2), true);
    let mut beat = given.beats().remove(0);
    given.input(Input::Beat(Beat::Worker(beat.clone())));
    beat.incarnation = Incarnation(Uuid::from_u128(99));
    given.input(Input::Beat(Beat::Worker(beat.clone())));
    beat.incarnation = Incarnation(Uuid::from_u128(101));
    beat.worker = "b".parse().unwrap();
    given.input(Input::Beat(Beat::Worker(beat.clone())));
    assert_eq!(given.exits(), []);
    beat.worker = "a".parse().unwrap();
    given.input(Input::Beat(Beat::Worker(beat)));
    assert_eq!(given.outputs[0], Output::Cancel { attempt: attempt(1) });
    assert_eq!(given.exits(), [ExitReason::Superseded]);
    assert_eq!(given.machine.next_wakeup(), None);
    given.pass(secs(60), true);
    assert_eq!(given.take(), []);
}

#[test]
fn it_beats_every_two_seconds_and_no_more_when_idle() {
    let mut given = worker(3);
    given.pass(secs(20), true);
    let beats = given.beats();
    assert_eq!(beats.len(), 10);
    assert_eq!(
        (beats[0].max_capacity, beats[0].running, beats[0].draining),
        (3, 0, false)
    );
}

#[test]
fn cut_off_it_ends_its_attempts_in_time_to_be_dead() {
    let mut given = worker(1);
    given
        .assignments(vec![assign(attempt(1)), assign(attempt(2))])
        .pass(secs(4), true)
        .take();
    // The last heartbeat that was acknowledged was sent now; 10 s of grace before the 40 s are over.
    given.pass(Duration::from_millis(29_999), false);
    assert!(!given.outputs.contains(&Output::Cancel { attempt: attempt(1) }));
    given.pass(Duration::from_millis(1), false);
    assert!(given.outputs.contains(&Output::Cancel { attempt: attempt(1) }));
    assert!(given.machine.glance().fading);
    given.pass(Duration::from_millis(9_999), false);
    assert_eq!(given.exits(), []);
    given.pass(Duration::from_millis(1), false);
    assert_eq!(given.exits(), [ExitReason::CutOff]);
    assert_eq!(given.machine.held().count(), 0);
}

#[test]
fn an_outage_of_15_seconds_harms_nothing() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1))]).take();
    given.pass(secs(15), false).pass(secs(15), true);
    assert!(!given.outputs.contains(&Output::Cancel { attempt: attempt(1) }));
    assert_eq!(given.exits(), []);
}

#[test]
fn heard_again_in_time_it_goes_on_and_what_it_ended_counts_as_lost() {
    let mut given = worker(2);
    given.beat_of(MASTER, false, 0).assignments(vec![assign(attempt(1))]);
    given.pass(secs(35), false).take();
    given.input(Input::AttemptEnded(attempt(1), failed(FailureReason::Error)));
    let items = given.items();
    assert!(matches!(
        &items[0],
        ReportItem::Ended { outcome: Outcome::Failed { failure }, .. } if failure.reason == FailureReason::WorkerLost
    ));
    given.input(Input::BeatAcknowledged { sent_at: given.now });
    assert!(!given.machine.glance().fading);
    given.assignments(vec![assign(attempt(2))]);
    assert_eq!(given.starts(), [attempt(2)]);
}

#[test]
fn what_sleeps_past_its_time_does_nothing_more() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1))]).take();
    given.now = given.now + secs(60);
    given.assignments(vec![assign(attempt(2))]);
    assert_eq!(given.exits(), [ExitReason::CutOff]);
    assert_eq!(given.starts(), []);
}

#[test]
fn drained_without_work_it_says_goodbye_and_goes() {
    let mut given = worker(1);
    given.input(Input::Drain);
    let outputs = given.take();
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Beat(beat) if beat.leaving && beat.draining))
    );
    let home = ShardId(given.machine.identity().worker.slot(SHARDS));
    assert_eq!(of_itself(outputs), [(home, ReportItem::Left {})]);
    given.home_says(AssignmentItem::Removed {});
    assert_eq!(given.exits(), [ExitReason::Drained]);
}

#[test]
fn without_an_answer_to_the_goodbye_it_goes_all_the_same() {
    let mut given = worker(1);
    given.input(Input::Drain).pass(secs(4), true);
    assert_eq!(given.exits(), []);
    given.pass(secs(1), true);
    assert_eq!(given.exits(), [ExitReason::Drained]);
}

#[test]
fn draining_it_hands_back_what_waits_and_lets_finish_what_runs() {
    let mut given = worker(1);
    given
        .beat_of(MASTER, true, 0)
        .assignments(vec![assign(attempt(1)), assign(attempt(2))])
        .take();
    given.input(Input::Drain);
    assert_eq!(given.items(), [ended(attempt(2), Outcome::HandedBack)]);
    given.assignments(vec![assign(attempt(3))]).pass_ms(10);
    assert_eq!(given.items(), [ended(attempt(3), Outcome::HandedBack)]);
    given.pass(secs(20), true).take();
    given.input(Input::AttemptEnded(attempt(1), completed()));
    assert_eq!(given.items(), [ended(attempt(1), completed())]);
    given.assignments(vec![
        ack(ReportKind::Ended, attempt(2)),
        ack(ReportKind::Ended, attempt(3)),
    ]);
    assert_eq!(of_itself(given.outputs.clone()), []);
    given.assignments(vec![ack(ReportKind::Ended, attempt(1))]);
    assert_eq!(of_itself(given.outputs.clone()).len(), 1);
}

#[test]
fn at_the_end_of_the_grace_what_runs_is_ended_as_lost() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1))]).input(Input::Drain).take();
    given.pass(Duration::from_millis(29_999), true);
    assert!(!given.outputs.contains(&Output::Cancel { attempt: attempt(1) }));
    given.pass_ms(1);
    assert!(given.outputs.contains(&Output::Cancel { attempt: attempt(1) }));
    given.take();
    given
        .input(Input::AttemptEnded(attempt(1), failed(FailureReason::Error)))
        .pass_ms(5);
    let items = given.items();
    assert!(matches!(
        &items[0],
        ReportItem::Ended { outcome: Outcome::Failed { failure }, .. } if failure.reason == FailureReason::WorkerLost
    ));
    // Nobody acknowledges: it leaves nevertheless, after its patience.
    given.pass(secs(30), true);
    assert_eq!(given.exits(), [ExitReason::Drained]);
}

#[test]
fn contradicting_options_are_refused() {
    let given = fresh(WorkerOptions::default());
    let refused = |options: WorkerOptions| {
        WorkerMachine::new(given.machine.identity().clone(), options, given.now)
            .unwrap_err()
            .to_string()
    };
    let text = refused(WorkerOptions {
        lost_after: secs(40),
        ..WorkerOptions::default()
    });
    assert_eq!(text, "worker.dead_after: expected less than worker.lost_after (40s)");
    let text = refused(WorkerOptions {
        slots: 0,
        ..WorkerOptions::default()
    });
    assert_eq!(text, "worker.slots: expected 1 to 10000");
    let text = refused(WorkerOptions {
        grace: secs(36),
        ..WorkerOptions::default()
    });
    assert!(text.starts_with("worker.grace: "), "{text}");
}
