//! Whose reports count: those of the very process that an attempt was given to, and of nobody else.

use std::sync::Arc;

use uuid::Uuid;

use super::{CreditPool, Input, Loaded, Output, Shard, ShardOptions, WorkerAnswer};
use crate::domain::event::WorkerEnd;
use crate::domain::{
    Attempt, Epoch, Event, ExecutorKind, Failure, FailureReason, Incarnation, JobId, JobSpec, Labels, Policy,
    RefusalCode, Seq, ShardId, Standing, TaskGroup, TaskId, TaskState, Timestamp, WorkerName,
};
use crate::event::{AttemptRef, Command, CommandMessage, Outcome, ReplyAddress, ReportItem, ReportMessage, Version};
use crate::log::{Cursor, Format};

const ALICE: Incarnation = Incarnation(Uuid::from_u128(1));
/// A later process of the same name.
const ALICE_AGAIN: Incarnation = Incarnation(Uuid::from_u128(2));
const MALLORY: Incarnation = Incarnation(Uuid::from_u128(3));

struct Given {
    shard: Shard,
    credits: CreditPool,
    job: JobId,
    now: Timestamp,
    offset: i64,
}

/// A task of one job is SCHEDULED on Alice; Mallory has room too.
fn given() -> Given {
    let now = Timestamp::from_ms(1_755_600_000_000);
    let ms = u128::from(now.as_ms().unsigned_abs());
    let options = ShardOptions {
        shard: ShardId(0),
        shards: 1,
        timeline: Uuid::nil(),
        jobmaster: Incarnation(Uuid::from_u128(9)),
        chunk_events: 100,
        most_staged: 100,
        most_parked: 10,
        snapshot_events: 1_000,
        seed: 1,
    };
    let loaded = Loaded {
        epoch: Epoch(1),
        next_seq: Seq(1),
        last_at: Timestamp::ZERO,
        cursor: Cursor {
            bus: Arc::from("b"),
            commands: 0,
            reports: 0,
        },
        jobs: Vec::new(),
        changed: Vec::new(),
        finished: Vec::new(),
        workers: Vec::new(),
        tail_events: 0,
        format: Format::known(),
        closed_before: 0,
    };
    let mut credits = CreditPool::default();
    credits.introduce(ALICE, &name("alice"), &Labels::new(), true);
    credits.grant(ALICE, 1);
    let mut given = Given {
        shard: Shard::load(options, loaded),
        credits,
        job: JobId(Uuid::from_u128((ms << 80) | (0x7000 << 64) | (0x8000 << 48))),
        now,
        offset: 0,
    };
    given.submit();
    assert_eq!(given.state(), TaskState::Scheduled);
    given.take();
    given
}

fn name(name: &str) -> WorkerName {
    name.parse().unwrap()
}

impl Given {
    fn submit(&mut self) {
        let group = TaskGroup {
            external_id: "a".into(),
            replicas: 1,
            executor: ExecutorKind::Noop,
            policy: 0,
        };
        let spec = JobSpec {
            document_hash: "00".into(),
            task_count: 1,
            policies: vec![Policy::default()],
            groups: vec![group],
            ..JobSpec::default()
        };
        let message = CommandMessage {
            v: Version,
            id: Uuid::from_u128(7),
            principal: Arc::from("client"),
            not_after: self.now,
            traceparent: None,
            reply_to: None,
            command: Command::SubmitJob {
                job: self.job,
                spec: Box::new(spec),
            },
        };
        let input = Input::Command { offset: 0, message };
        self.shard.handle(input, self.now, &mut self.credits).unwrap();
    }

    fn attempt(&self, attempt: u32) -> AttemptRef {
        AttemptRef {
            task: TaskId {
                job: self.job,
                number: 1,
            },
            attempt: Attempt(attempt),
        }
    }

    fn state(&self) -> TaskState {
        self.shard.jobs().next().unwrap().task(1).unwrap().state()
    }

    /// What is committed, and what leaves then.
    fn take(&mut self) -> (Vec<Event>, Vec<Output>) {
        let Some(batch) = self.shard.take() else {
            return (Vec::new(), Vec::new());
        };
        let events = batch.events.into_iter().map(|record| record.event).collect();
        let outputs = self.shard.committed(self.now, &mut self.credits).unwrap();
        (events, outputs)
    }

    fn wish(&mut self, id: u128, command: Command) -> Vec<Event> {
        let message = CommandMessage {
            v: Version,
            id: Uuid::from_u128(id),
            principal: Arc::from("client"),
            not_after: self.now,
            traceparent: None,
            reply_to: None,
            command,
        };
        self.offset += 1;
        let offset = self.offset;
        self.shard
            .handle(Input::Command { offset, message }, self.now, &mut self.credits)
            .unwrap();
        self.take().0
    }

    fn report(&mut self, worker: &str, incarnation: Incarnation, items: Vec<ReportItem>) -> (Vec<Event>, Vec<Output>) {
        let message = ReportMessage {
            v: Version,
            worker: name(worker),
            incarnation,
            timeline: None,
            sent_at: self.now,
            grants: Vec::new(),
            items,
        };
        self.offset += 1;
        let offset = self.offset;
        self.shard
            .handle(Input::Report { offset, message }, self.now, &mut self.credits)
            .unwrap();
        self.take()
    }
}

fn ends() -> Vec<Outcome> {
    let failure = Failure::new(FailureReason::Unrecoverable, "says the wrong one");
    vec![
        Outcome::Completed { counters: [].into() },
        Outcome::Failed { failure },
        Outcome::HandedBack,
    ]
}

#[test]
fn nothing_that_another_process_says_of_an_attempt_counts() {
    for (worker, incarnation) in [("mallory", MALLORY), ("alice", ALICE_AGAIN), ("alice", MALLORY)] {
        let mut given = given();
        let attempt = given.attempt(1);
        let (events, _) = given.report(worker, incarnation, vec![ReportItem::Started { attempt }]);
        assert_eq!((events, given.state()), (vec![], TaskState::Scheduled));
        for outcome in ends() {
            let (events, _) = given.report(worker, incarnation, vec![ReportItem::Ended { attempt, outcome }]);
            assert_eq!((events, given.state()), (vec![], TaskState::Scheduled));
        }
        // The attempt's own process is heard as if nobody else had spoken.
        let (events, _) = given.report("alice", ALICE, vec![ReportItem::Started { attempt }]);
        assert!(matches!(events[..], [Event::TaskStarted(_)]), "{events:?}");
        for outcome in ends() {
            let (events, _) = given.report(worker, incarnation, vec![ReportItem::Ended { attempt, outcome }]);
            assert_eq!((events, given.state()), (vec![], TaskState::Running));
        }
        let outcome = Outcome::Completed { counters: [].into() };
        given.report("alice", ALICE, vec![ReportItem::Ended { attempt, outcome }]);
        assert_eq!(given.state(), TaskState::Completed);
    }
}

#[test]
fn nothing_that_is_said_of_another_attempt_counts() {
    let mut given = given();
    for number in [0, 2, u32::MAX] {
        let attempt = given.attempt(number);
        for outcome in ends() {
            let items = vec![ReportItem::Started { attempt }, ReportItem::Ended { attempt, outcome }];
            let (events, _) = given.report("alice", ALICE, items);
            assert_eq!((events, given.state()), (vec![], TaskState::Scheduled));
        }
    }
}

fn inventory(attempts: Vec<AttemptRef>) -> ReportItem {
    ReportItem::Inventory {
        attempts,
        standing: Standing::default(),
    }
}

#[test]
fn an_inventory_speaks_for_its_own_process_alone() {
    let mut given = given();
    let attempt = given.attempt(1);
    given.report("alice", ALICE, vec![ReportItem::Started { attempt }]);
    // Another one's empty inventory loses nothing, and who claims to hold the attempt is told to end it.
    let (events, outputs) = given.report("mallory", MALLORY, vec![inventory(vec![])]);
    assert_eq!((events, outputs, given.state()), (vec![], vec![], TaskState::Running));
    let attempts = vec![attempt];
    let (events, outputs) = given.report("mallory", MALLORY, vec![inventory(attempts)]);
    assert_eq!((events, given.state()), (vec![], TaskState::Running));
    assert!(
        matches!(
            outputs[..],
            [Output::Cancel {
                incarnation: MALLORY,
                ..
            }]
        ),
        "{outputs:?}"
    );
    // Its own does.
    let (events, _) = given.report("alice", ALICE, vec![inventory(vec![])]);
    assert!(
        matches!(&events[0], Event::TaskFailed(failed) if failed.failure.reason == FailureReason::WorkerLost),
        "{events:?}"
    );
}

fn began(given: &Given) -> ReportItem {
    ReportItem::Began {
        endpoint_url: "http://here".into(),
        max_capacity: 1,
        labels: Labels::new(),
        not_after: given.now,
    }
}

fn answers(outputs: &[Output]) -> Vec<(Incarnation, WorkerAnswer)> {
    let answer = |output: &Output| match output {
        Output::Tell {
            incarnation, answer, ..
        } => Some((*incarnation, *answer)),
        _ => None,
    };
    outputs.iter().filter_map(answer).collect()
}

#[test]
fn a_worker_registers_and_leaves_by_its_reports() {
    let mut given = given();
    let item = began(&given);
    let (events, outputs) = given.report("alice", ALICE, vec![item.clone()]);
    assert!(
        matches!(&events[..], [Event::WorkerRegistered(it)] if it.incarnation == ALICE),
        "{events:?}"
    );
    assert_eq!(
        answers(&outputs),
        [(ALICE, WorkerAnswer::Registered(Standing::default()))]
    );
    // Said again, it is answered again and written once.
    let (events, outputs) = given.report("alice", ALICE, vec![item.clone()]);
    assert_eq!(
        (events, answers(&outputs)),
        (vec![], vec![(ALICE, WorkerAnswer::Registered(Standing::default()))])
    );

    let (events, outputs) = given.report("alice", ALICE_AGAIN, vec![item.clone()]);
    assert!(
        matches!(&events[..], [Event::WorkerLeft(left), Event::WorkerRegistered(_)] if left.cause == WorkerEnd::Superseded),
        "{events:?}"
    );
    assert_eq!(
        answers(&outputs),
        [(ALICE_AGAIN, WorkerAnswer::Registered(Standing::default()))]
    );
    let (events, outputs) = given.report("alice", ALICE, vec![item.clone()]);
    assert_eq!(
        (events, answers(&outputs)),
        (vec![], vec![(ALICE, WorkerAnswer::Superseded)])
    );
    // Its goodbye is not that of its successor.
    let (events, outputs) = given.report("alice", ALICE, vec![ReportItem::Left {}]);
    assert_eq!(
        (events, answers(&outputs)),
        (vec![], vec![(ALICE, WorkerAnswer::Removed)])
    );
    let (events, _) = given.report("alice", ALICE_AGAIN, vec![ReportItem::Left {}]);
    assert!(
        matches!(&events[..], [Event::WorkerLeft(left)] if left.cause == WorkerEnd::Drained),
        "{events:?}"
    );

    given.now = given.now + std::time::Duration::from_millis(1);
    let (events, outputs) = given.report("bob", MALLORY, vec![item]);
    assert_eq!(
        (events, outputs),
        (vec![], vec![]),
        "read too late, nobody wants it any more"
    );
}

#[test]
fn a_command_that_was_taken_back_does_nothing_when_it_arrives_again() {
    let mut given = given();
    let item = began(&given);
    given.report("alice", ALICE, vec![item.clone()]);
    let worker = || name("alice");
    let cordon = || Command::CordonWorker { worker: worker() };
    let uncordon = || Command::UncordonWorker { worker: worker() };
    assert!(matches!(&given.wish(11, cordon())[..], [Event::WorkerCordoned(_)]));
    // It is so already: nothing is written, and nothing is left to do for it later.
    assert_eq!(given.wish(12, cordon()), []);
    assert!(matches!(&given.wish(13, uncordon())[..], [Event::WorkerUncordoned(_)]));
    assert_eq!(given.wish(11, cordon()), []);
    assert_eq!(given.wish(12, cordon()), []);
    // Nor for the next process of the name.
    given.report("alice", ALICE_AGAIN, vec![item]);
    assert_eq!(given.wish(11, cordon()), []);
    assert!(matches!(&given.wish(14, cordon())[..], [Event::WorkerCordoned(_)]));
    assert_eq!(given.wish(13, uncordon()), []);
}

#[test]
fn what_older_programs_cannot_read_is_written_once_the_format_allows_it() {
    let mut given = given();
    let item = began(&given);
    given.report("alice", ALICE, vec![item]);
    given.shard.format = Format::FIRST;
    let cordon = || Command::CordonWorker { worker: name("alice") };
    assert_eq!(given.wish(11, cordon()), []);
    given.shard.write_as(Format::known());
    assert!(matches!(&given.wish(12, cordon())[..], [Event::WorkerCordoned(_)]));
    // It never goes back.
    given.shard.write_as(Format::FIRST);
    assert_eq!(given.shard.format, Format::known());
}

#[test]
fn a_day_is_closed_once_its_last_job_has_come_to_rest_and_then_stays_as_it_is() {
    let mut given = given();
    let before = given.job.day() + 1;
    let close = |given: &mut Given, before| {
        given
            .shard
            .handle(Input::CloseDays(before), given.now, &mut given.credits)
            .unwrap();
    };
    // Earlier days have no job.
    close(&mut given, before - 1);
    let batch = given.shard.take().unwrap();
    assert_eq!((batch.closed_before, batch.round), (before - 1, true));
    given.shard.committed(given.now, &mut given.credits).unwrap();
    given.shard.snapshots_written();
    assert_eq!(given.shard.take_holders(), None);

    close(&mut given, before);
    let holders = given.shard.take_holders().unwrap();
    assert_eq!((holders.first, holders.total), (vec![given.job], 1));
    assert!(given.shard.take().is_none());
    let attempt = given.attempt(1);
    let outcome = Outcome::Completed { counters: [].into() };
    let message = ReportMessage {
        v: Version,
        worker: name("alice"),
        incarnation: ALICE,
        timeline: None,
        sent_at: given.now,
        grants: Vec::new(),
        items: vec![ReportItem::Ended { attempt, outcome }],
    };
    let report = Input::Report { offset: 1, message };
    given.shard.handle(report, given.now, &mut given.credits).unwrap();
    // In the commit of its end, with a snapshot, so that nothing of the day is in the tail alone.
    let batch = given.shard.take().unwrap();
    assert_eq!((batch.closed_before, batch.round), (before, true));
    assert!(batch.snapshots.iter().any(|it| it.job == given.job && it.at_rest));
    given.shard.committed(given.now, &mut given.credits).unwrap();

    let (job, task) = (given.job, attempt.task);
    for (id, command) in [
        (20, Command::KillJob { job }),
        (21, Command::RetryJob { job }),
        (22, Command::CancelRetry { task }),
    ] {
        let reply_to = Some(ReplyAddress {
            partition: 0,
            node: ALICE,
            correlation: Uuid::from_u128(id),
        });
        let message = CommandMessage {
            v: Version,
            id: Uuid::from_u128(id),
            principal: Arc::from("client"),
            not_after: given.now,
            traceparent: None,
            reply_to,
            command,
        };
        let input = Input::Command { offset: 30, message };
        given.shard.handle(input, given.now, &mut given.credits).unwrap();
        let (events, outputs) = given.take();
        let gone = |output: &Output| matches!(output, Output::Reply { result: Err(refusal), .. } if refusal.code == RefusalCode::Gone);
        assert!(events.is_empty() && outputs.iter().any(gone), "{events:?} {outputs:?}");
    }
    // A clock that is behind puts no event of a worker into a closed day.
    let item = began(&given);
    given.report("alice", ALICE, vec![item]);
    assert!(given.shard.last_at.day() >= before);
}

#[test]
fn a_job_whose_snapshot_was_not_written_is_in_the_next_round() {
    let mut given = given();
    let mut round = |unwritten: bool| {
        let close = Input::CloseDays(1);
        given.shard.handle(close, given.now, &mut given.credits).unwrap();
        let batch = given.shard.take().unwrap();
        let jobs: Vec<JobId> = batch.snapshots.iter().map(|it| it.job).collect();
        given.shard.committed(given.now, &mut given.credits).unwrap();
        if unwritten {
            given.shard.snapshots_unwritten(jobs.clone());
        } else {
            given.shard.snapshots_written();
        }
        jobs == [given.job]
    };
    assert!(round(true));
    assert!(
        round(false),
        "a load would find neither a snapshot nor the events before it"
    );
    assert!(!round(false));
}

#[test]
fn a_round_of_snapshots_waits_for_the_one_before() {
    let mut given = given();
    let mut close = || {
        let close = Input::CloseDays(1);
        given.shard.handle(close, given.now, &mut given.credits).unwrap();
        let batch = given.shard.take().unwrap();
        given.shard.committed(given.now, &mut given.credits).unwrap();
        batch.round
    };
    assert!(close());
    assert!(
        !close(),
        "it would move the place from which a load reads beyond snapshots that are not there yet"
    );
    given.shard.snapshots_written();
    let batch = given.shard.take().expect("the round that was wished for meanwhile");
    assert!(batch.round && batch.events.is_empty());
}
