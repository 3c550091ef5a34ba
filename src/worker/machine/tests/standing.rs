//! Cordoned, uncordoned, told to leave.

use std::time::Duration;

use super::super::*;
use super::given::*;
use crate::domain::Standing;
use crate::event::{AssignmentItem, Outcome, ReportItem, ReportKind};

fn told(cordoned: bool, draining: bool) -> AssignmentItem {
    AssignmentItem::Standing {
        standing: Standing { cordoned, draining },
    }
}

#[test]
fn cordoned_it_lets_run_what_runs_and_takes_nothing_new() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]);
    assert_eq!(given.starts(), [attempt(1)]);
    given.assignments(vec![told(true, false)]);
    // What waits in it goes back.
    assert_eq!(given.items(), [ended(attempt(2), Outcome::HandedBack)]);
    given.assignments(vec![ack(ReportKind::Ended, attempt(2)), assign(attempt(3))]);
    given.pass_ms(100);
    assert_eq!(given.items(), [ended(attempt(3), Outcome::HandedBack)]);
    given.input(Input::AttemptEnded(attempt(1), completed())).pass_ms(100);
    assert!(given.items().contains(&ended(attempt(1), completed())));
    assert_eq!(given.starts(), []);
    assert!(given.machine.glance().cordoned && !given.machine.glance().draining);
    assert_eq!(given.exits(), []);
}

#[test]
fn jobmasters_read_it_in_the_heartbeats_at_once() {
    let mut given = worker(2);
    given.pass_ms(100).take();
    given.assignments(vec![told(true, false)]);
    let beats = given.beats();
    assert_eq!(beats.len(), 1);
    assert!(beats[0].cordoned && !beats[0].draining);
    // The same again is no news.
    given.assignments(vec![told(true, false)]);
    assert_eq!(given.beats(), []);
    given.pass_ms(10).assignments(vec![told(false, false)]);
    assert!(given.beats().iter().all(|beat| !beat.cordoned));
}

#[test]
fn it_grants_nothing_until_it_is_uncordoned() {
    let mut given = worker(3);
    given.assignments(vec![told(true, false)]).take();
    given.beat_of(MASTER, true, 0).pass_ms(5_000);
    assert_eq!(given.granted(MASTER), 0);
    given.assignments(vec![told(false, false)]).pass_ms(10);
    assert_eq!(given.granted(MASTER), 3);
    given.assignments(vec![assign(attempt(1))]);
    assert_eq!(given.starts(), [attempt(1)]);
}

#[test]
fn it_knows_with_its_registration_before_it_grants() {
    let mut given = fresh(WorkerOptions::default());
    let cordoned = Standing {
        cordoned: true,
        draining: false,
    };
    given.beat_of(MASTER, true, 0);
    given
        .home_says(AssignmentItem::Registered { standing: cordoned })
        .pass_ms(5_000);
    assert!(given.machine.glance().registered);
    assert_eq!(given.granted(MASTER), 0);
    given.assignments(vec![told(false, false)]).pass_ms(10);
    assert_eq!(given.granted(MASTER), 4);
    // What its shard says comes in order: the last word counts, whatever it answers.
    given.home_says(AssignmentItem::Registered { standing: cordoned });
    assert!(given.machine.glance().cordoned);
}

#[test]
fn an_earlier_owner_of_its_shard_has_nothing_to_say() {
    let mut given = worker(1);
    given.under(6, vec![told(false, false)]);
    given.under(5, vec![told(true, true)]);
    assert!(!given.machine.glance().cordoned && !given.machine.glance().draining);
}

#[test]
fn its_inventory_says_how_it_believes_to_stand() {
    let mut given = worker(1);
    given.assignments(vec![told(true, false)]).take();
    given.pass(Duration::from_secs(10), true);
    let said: Vec<Standing> = given
        .reports()
        .into_iter()
        .flat_map(|report| report.items)
        .filter_map(|item| match item {
            ReportItem::Inventory { standing, .. } => Some(standing),
            _ => None,
        })
        .collect();
    assert_eq!(said.len(), usize::from(SHARDS));
    assert!(said.iter().all(|standing| standing.cordoned && !standing.draining));
}

#[test]
fn told_to_drain_it_finishes_what_runs_and_leaves() {
    let mut given = worker(1);
    given.assignments(vec![assign(attempt(1)), assign(attempt(2))]).take();
    given.assignments(vec![told(true, true)]);
    assert_eq!(given.items(), [ended(attempt(2), Outcome::HandedBack)]);
    assert!(given.machine.glance().draining);
    given.assignments(vec![ack(ReportKind::Ended, attempt(2))]);
    // Lifted or not: the process leaves.
    given.assignments(vec![told(false, true)]).pass_ms(1_000);
    assert_eq!(given.exits(), []);
    given.input(Input::AttemptEnded(attempt(1), completed()));
    given.assignments(vec![ack(ReportKind::Ended, attempt(1))]);
    given.pass(Duration::from_secs(6), true);
    assert_eq!(given.exits(), [ExitReason::Drained]);
}
