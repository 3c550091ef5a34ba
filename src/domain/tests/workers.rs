//! Which process bears a worker's name, and whether it gets work.

use super::given::{incarnation, name};
use crate::domain::event::{
    Event, StreamId, WorkerCordoned, WorkerDrainRequested, WorkerEnd, WorkerLeft, WorkerRegistered, WorkerUncordoned,
};
use crate::domain::{Labels, RefusalCode, Registration, WorkerHistory};

fn registration(process: u8) -> Registration {
    Registration {
        worker: name(1),
        incarnation: incarnation(process),
        endpoint_url: "http://127.0.0.1:1".into(),
        max_capacity: 4,
        labels: Labels::new(),
    }
}

fn registered(process: u8) -> (StreamId, Event) {
    let Registration {
        worker,
        incarnation,
        endpoint_url,
        max_capacity,
        labels,
    } = registration(process);
    let event = WorkerRegistered {
        worker,
        incarnation,
        endpoint_url,
        max_capacity,
        labels,
    };
    (StreamId::Worker(incarnation), Event::WorkerRegistered(Box::new(event)))
}

fn left(process: u8, cause: WorkerEnd) -> (StreamId, Event) {
    let event = WorkerLeft {
        worker: name(1),
        incarnation: incarnation(process),
        cause,
    };
    (StreamId::Worker(incarnation(process)), Event::WorkerLeft(event))
}

fn given(events: &[(StreamId, Event)]) -> WorkerHistory {
    let mut history = WorkerHistory::default();
    events.iter().for_each(|(_, event)| history.apply(event));
    history
}

#[test]
fn the_first_process_registers_once() {
    let registered = registered(1);
    assert_eq!(
        given(&[]).decide_register(&registration(1)).unwrap(),
        std::slice::from_ref(&registered)
    );
    assert_eq!(given(&[registered]).decide_register(&registration(1)).unwrap(), []);
}

#[test]
fn a_newer_process_supersedes_the_older_and_not_the_other_way() {
    let events = given(&[registered(1)]).decide_register(&registration(2)).unwrap();
    assert_eq!(events, [left(1, WorkerEnd::Superseded), registered(2)]);
    let refusal = given(&[registered(1), registered(2)])
        .decide_register(&registration(1))
        .unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Superseded);
}

#[test]
fn a_process_leaves_once_and_only_if_it_is_the_present_one() {
    let gone = left(1, WorkerEnd::Drained);
    let decide =
        |history: WorkerHistory, process| history.decide_left(&name(1), incarnation(process), WorkerEnd::Drained);
    assert_eq!(decide(given(&[registered(1)]), 1), Some(gone.clone()));
    assert_eq!(decide(given(&[registered(1), gone]), 1), None);
    assert_eq!(decide(given(&[registered(1), registered(2)]), 1), None);
    assert_eq!(decide(given(&[]), 1), None);
}

#[test]
fn one_that_has_left_does_not_come_back_but_its_successor_registers() {
    let history = || given(&[registered(1), left(1, WorkerEnd::Lost)]);
    assert_eq!(
        history().decide_register(&registration(1)).unwrap_err().code,
        RefusalCode::Superseded
    );
    assert_eq!(history().decide_register(&registration(2)).unwrap(), [registered(2)]);
}

fn cordoned(process: u8, inherited: bool) -> (StreamId, Event) {
    let event = WorkerCordoned {
        worker: name(1),
        incarnation: incarnation(process),
        inherited,
    };
    (StreamId::Worker(incarnation(process)), Event::WorkerCordoned(event))
}

fn uncordoned(process: u8) -> (StreamId, Event) {
    let event = WorkerUncordoned {
        worker: name(1),
        incarnation: incarnation(process),
    };
    (StreamId::Worker(incarnation(process)), Event::WorkerUncordoned(event))
}

fn drain_requested(process: u8) -> (StreamId, Event) {
    let event = WorkerDrainRequested {
        worker: name(1),
        incarnation: incarnation(process),
    };
    (
        StreamId::Worker(incarnation(process)),
        Event::WorkerDrainRequested(event),
    )
}

#[test]
fn a_cordon_is_set_and_lifted_once() {
    let open = || given(&[registered(1)]);
    assert_eq!(open().decide_cordon(&name(1)).unwrap(), [cordoned(1, false)]);
    assert_eq!(open().decide_uncordon(&name(1)).unwrap(), []);
    let closed = || given(&[registered(1), cordoned(1, false)]);
    assert!(closed().standing().cordoned);
    assert_eq!(closed().decide_cordon(&name(1)).unwrap(), []);
    assert_eq!(closed().decide_uncordon(&name(1)).unwrap(), [uncordoned(1)]);
    assert!(
        !given(&[registered(1), cordoned(1, false), uncordoned(1)])
            .standing()
            .cordoned
    );
}

#[test]
fn a_cordon_outlives_the_process() {
    let history = given(&[registered(1), cordoned(1, false), left(1, WorkerEnd::Lost)]);
    let events = history.decide_register(&registration(2)).unwrap();
    assert_eq!(events, [registered(2), cordoned(2, true)]);
    let superseded = given(&[registered(1), cordoned(1, false)]);
    let events = superseded.decide_register(&registration(2)).unwrap();
    assert_eq!(
        events,
        [left(1, WorkerEnd::Superseded), registered(2), cordoned(2, true)]
    );
    // Its own history says so: that of the process before it is not needed.
    let next = given(&[registered(2), cordoned(2, true)]);
    assert_eq!(next.decide_uncordon(&name(1)).unwrap(), [uncordoned(2)]);
    assert_eq!(next.decide_register(&registration(2)).unwrap(), []);
}

#[test]
fn a_name_without_a_process_can_be_cordoned_and_uncordoned() {
    let gone = given(&[registered(1), left(1, WorkerEnd::Drained)]);
    assert_eq!(gone.decide_cordon(&name(1)).unwrap(), [cordoned(1, false)]);
    let gone = given(&[registered(1), cordoned(1, false), left(1, WorkerEnd::Drained)]);
    assert_eq!(gone.decide_uncordon(&name(1)).unwrap(), [uncordoned(1)]);
    let unknown = given(&[]);
    for refusal in [
        unknown.decide_cordon(&name(1)).unwrap_err(),
        unknown.decide_uncordon(&name(1)).unwrap_err(),
        unknown.decide_drain(&name(1)).unwrap_err(),
    ] {
        assert_eq!(refusal.code, RefusalCode::NotFound);
    }
}

#[test]
fn a_drain_cordons_and_ends_with_its_process() {
    let events = given(&[registered(1)]).decide_drain(&name(1)).unwrap();
    assert_eq!(events, [cordoned(1, false), drain_requested(1)]);
    let closed = given(&[registered(1), cordoned(1, false)]);
    assert_eq!(closed.decide_drain(&name(1)).unwrap(), [drain_requested(1)]);
    let draining = given(&[registered(1), cordoned(1, false), drain_requested(1)]);
    assert_eq!(draining.decide_drain(&name(1)).unwrap(), []);
    assert!(draining.standing().draining && draining.standing().cordoned);
    // It leaves all the same; only its successor may work.
    let lifted = given(&[registered(1), cordoned(1, false), drain_requested(1), uncordoned(1)]);
    assert!(lifted.standing().draining && !lifted.standing().cordoned);
    let next = given(&[
        registered(1),
        cordoned(1, false),
        drain_requested(1),
        left(1, WorkerEnd::Drained),
        registered(2),
        cordoned(2, true),
    ]);
    assert!(!next.standing().draining && next.standing().cordoned);
}

#[test]
fn one_that_has_left_is_drained_already_or_cannot_be() {
    let drained = given(&[
        registered(1),
        cordoned(1, false),
        drain_requested(1),
        left(1, WorkerEnd::Drained),
    ]);
    assert_eq!(drained.decide_drain(&name(1)).unwrap(), []);
    let gone = given(&[registered(1), left(1, WorkerEnd::Lost)]);
    assert_eq!(gone.decide_drain(&name(1)).unwrap_err().code, RefusalCode::WorkerLeft);
}

/// What is said of an earlier process changes nothing.
#[test]
fn events_of_earlier_processes_are_passed_over() {
    let events = [
        registered(2),
        cordoned(1, false),
        drain_requested(1),
        uncordoned(1),
        left(1, WorkerEnd::Lost),
    ];
    assert_eq!(given(&events), given(&[registered(2)]));
}
