//! Grants: fair, cumulative, told at once.

use std::time::Duration;

use super::super::*;
use super::given::*;
use crate::domain::Incarnation;
use crate::event::{Beat, JobmasterBeat, ReportKind, Version};
use uuid::Uuid;

#[test]
fn a_lone_jobmaster_holds_all_and_is_told_at_once() {
    let mut given = worker(4);
    given.pass_ms(100).take();
    given.beat_of(MASTER, false, 0);
    assert_eq!(given.granted(MASTER), 4);
}

#[test]
fn nothing_is_granted_before_the_registration() {
    let mut given = fresh(WorkerOptions::default());
    given.beat_of(MASTER, true, 0).pass_ms(100);
    assert_eq!(given.granted(MASTER), 0);
    given.register();
    assert_eq!(given.granted(MASTER), 4);
}

#[test]
fn two_share() {
    let mut given = fresh(WorkerOptions {
        slots: 5,
        ..WorkerOptions::default()
    });
    given
        .beat_of(MASTER, false, 0)
        .beat_of(OTHER, false, 0)
        .register()
        .pass_ms(10);
    let outputs = given.outputs.clone();
    let master = given.granted(MASTER);
    given.outputs = outputs;
    let mut both = [master, given.granted(OTHER)];
    both.sort_unstable();
    assert_eq!(both, [2, 3]);
}

#[test]
fn what_is_given_back_goes_to_the_hungry() {
    let mut given = worker(4);
    given
        .beat_of(MASTER, false, 0)
        .beat_of(OTHER, true, 0)
        .pass_ms(10)
        .take();
    assert_eq!(given.machine.glance().outstanding, 4);
    given.beat_of(MASTER, false, 4).pass_ms(10);
    assert_eq!(given.granted(OTHER), 4);
    // An earlier word that comes late does no harm.
    given.beat_of(MASTER, false, 0).pass_ms(10);
    assert_eq!(given.machine.glance().outstanding, 4);
}

/// Tasks that ask for labels which this worker lacks make their jobmaster hungry, but not for its credits.
#[test]
fn who_cannot_use_credits_does_not_get_them() {
    let mut given = worker(4);
    given
        .beat_of(OTHER, true, 0)
        .beat_with(MASTER, true, 0, true)
        .pass_ms(10);
    let outputs = given.outputs.clone();
    assert_eq!(given.granted(OTHER), 4);
    given.outputs = outputs;
    assert_eq!(given.granted(MASTER), 0);
    // What it had been granted before, it gives back.
    let mut given = worker(4);
    given
        .beat_of(MASTER, true, 0)
        .beat_of(OTHER, true, 0)
        .pass_ms(10)
        .take();
    given.beat_with(MASTER, true, 4, true).pass_ms(10);
    assert_eq!(given.granted(OTHER), 4);
}

#[test]
fn one_slot_goes_round_among_the_hungry() {
    let mut given = worker(1);
    given.beat_of(MASTER, true, 0).beat_of(OTHER, true, 0);
    let mut served = Vec::new();
    for n in 1..=6 {
        given.pass_ms(10);
        let outputs = given.outputs.clone();
        let master = given.granted(MASTER);
        given.outputs = outputs;
        served.push((master, given.granted(OTHER)));
        let jobmaster = if n % 2 == 1 { MASTER } else { OTHER };
        let mut message = given.message(5, vec![assign(attempt(n))]);
        message.jobmaster = jobmaster;
        let offset = given.offset;
        given.input(Input::Assignments { offset, message });
        given.input(Input::AttemptEnded(
            attempt(n),
            failed(crate::domain::FailureReason::Error),
        ));
        // Out of the window of the pace, so that nothing is granted ahead.
        given.pass_ms(60).beat_of(MASTER, true, 0).beat_of(OTHER, true, 0);
    }
    let (master, other) = served[5];
    assert!(master >= 2 && other >= 2, "{served:?}");
}

#[test]
fn a_used_credit_comes_back_with_the_end_and_with_its_report() {
    let mut given = worker(2);
    given.beat_of(MASTER, false, 0).pass_ms(100).take();
    given
        .assignments(vec![assign(attempt(1)), assign(attempt(2))])
        .pass_ms(100);
    assert_eq!(given.granted(MASTER), 0);
    given.input(Input::AttemptEnded(attempt(1), completed()));
    let reports = given.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        reports[0].grants.iter().map(|grant| grant.granted).collect::<Vec<_>>(),
        [3]
    );
    // It is told: no heartbeat for it.
    given.pass_ms(50);
    assert_eq!(given.beats(), []);
}

#[test]
fn prefetch_follows_the_pace_and_is_for_the_hungry_alone() {
    let mut given = worker(2);
    given.beat_of(MASTER, true, 0);
    for n in 1..=20 {
        given.assignments(vec![assign(attempt(n))]);
        given.input(Input::AttemptEnded(attempt(n), completed()));
    }
    given.pass_ms(5).take();
    assert_eq!(given.machine.glance().prefetch, 20);
    assert_eq!(given.machine.glance().outstanding, 22);
    given.beat_of(MASTER, false, 22);
    assert_eq!(given.machine.glance().outstanding, 2);
    given.pass_ms(60);
    assert_eq!(given.machine.glance().prefetch, 0);
}

#[test]
fn prefetch_is_bounded() {
    let mut given = fresh(WorkerOptions {
        slots: 1,
        prefetch_max: 3,
        ..WorkerOptions::default()
    });
    given.register().beat_of(MASTER, true, 0);
    for n in 1..=20 {
        given.assignments(vec![assign(attempt(n))]);
        given.input(Input::AttemptEnded(attempt(n), completed()));
    }
    assert_eq!(given.machine.glance().outstanding, 4);
}

#[test]
fn ends_that_nobody_acknowledges_hold_credits_back() {
    let mut given = fresh(WorkerOptions {
        slots: 2,
        prefetch_max: 3,
        ..WorkerOptions::default()
    });
    given.register().beat_of(MASTER, true, 0);
    let pile = super::super::outbox::PILE + 2 * 3;
    for n in 1..=pile + 5 {
        given.assignments(vec![assign(attempt(n))]);
        given.input(Input::AttemptEnded(attempt(n), completed()));
    }
    assert_eq!(given.machine.glance().outstanding, 0);
    for n in 1..=5 {
        given.assignments(vec![ack(ReportKind::Ended, attempt(n))]);
    }
    assert_eq!(given.machine.glance().outstanding, 5);
}

#[test]
fn the_credits_of_a_silent_jobmaster_are_free_and_its_own_again_when_it_returns() {
    let mut given = worker(4);
    given.beat_of(MASTER, false, 0).pass_ms(10).take();
    for _ in 0..4 {
        given.pass(Duration::from_secs(2), true).beat_of(OTHER, true, 0);
    }
    assert_eq!(given.granted(OTHER), 4);
    given.beat_of(MASTER, true, 0);
    // Both may use what they have; nothing more is granted until that is used up.
    assert_eq!(given.machine.glance().outstanding, 8);
    given.take();
    given
        .assignments((1..=4).map(|n| assign(attempt(n))).collect())
        .pass_ms(10);
    assert_eq!(given.granted(MASTER), 0);
    assert_eq!(given.machine.glance().outstanding, 4);
}

#[test]
fn a_jobmaster_of_an_earlier_timeline_is_granted_nothing_and_one_of_a_later_ends_the_worker() {
    let mut given = worker(4);
    let of = |number, given: &Given| {
        Input::Beat(Beat::Jobmaster(JobmasterBeat {
            v: Version,
            jobmaster: MASTER,
            timeline: Some(Uuid::from_u128(number)),
            sent_at: given.now,
            hungry: true,
            leaving: false,
            returned: Vec::new(),
        }))
    };
    let earlier = of(6, &given);
    given.input(earlier);
    assert_eq!((given.granted(MASTER), given.exits()), (0, vec![]));
    let later = of(8, &given);
    given.input(later);
    assert_eq!(given.exits(), [ExitReason::Restored]);
}

#[test]
fn a_jobmaster_that_leaves_gives_all_back() {
    let mut given = worker(4);
    given.beat_of(MASTER, true, 0).pass_ms(10);
    given.input(Input::Beat(Beat::Jobmaster(JobmasterBeat {
        v: Version,
        jobmaster: MASTER,
        timeline: Some(TIMELINE),
        sent_at: given.now,
        hungry: true,
        leaving: true,
        returned: Vec::new(),
    })));
    assert_eq!(given.machine.glance().outstanding, 0);
    given.beat_of(OTHER, false, 0);
    assert_eq!(given.machine.glance().outstanding, 4);
}

#[test]
fn uncharged_assignments_use_slots_but_no_credits() {
    let mut given = worker(4);
    given.beat_of(MASTER, false, 0);
    let mut again = assignment(attempt(1));
    again.charged = false;
    given.assignments(vec![crate::event::AssignmentItem::Assign { assignment: again }]);
    assert_eq!(given.machine.glance().outstanding, 4);
    given.input(Input::AttemptEnded(attempt(1), completed()));
    given.assignments(vec![ack(ReportKind::Ended, attempt(1))]).pass_ms(10);
    assert_eq!(given.machine.glance().outstanding, 4);
}

#[test]
fn the_longest_dead_are_forgotten() {
    let mut given = worker(1);
    for n in 0..200 {
        given
            .beat_of(Incarnation(Uuid::from_u128(1_000 + n)), false, 0)
            .pass(Duration::from_secs(7), true);
    }
    assert!(given.machine.glance().live_jobmasters <= 1);
    assert!(given.machine.credits.remembered() <= 66);
}
