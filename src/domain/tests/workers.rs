//! Which process bears a worker's name.

use super::given::{incarnation, name};
use crate::domain::event::{Event, StreamId, WorkerEnd, WorkerLeft, WorkerRegistered};
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
