//! Coalesced rows against the domain: random lives of jobs, made by the domain's own decisions, written in random cuts.

mod life;
mod store;

use proptest::prelude::*;

use self::life::Life;
use self::store::Store;
use super::machine::{Feed, LogPage, Machine, Want, Written};
use crate::domain::event::TaskState;
use crate::domain::{Seq, ShardId};

const SHARD: ShardId = ShardId(3);

/// A machine whose shard is live with nothing written.
fn live() -> Machine {
    let mut machine = Machine::new(10_000);
    machine.open(SHARD, Seq(0));
    assert_eq!(machine.wants(), [Want::Cursor(SHARD)]);
    machine.cursor(SHARD, Some(Seq(0)));
    assert!(machine.is_live() && machine.wants().is_empty());
    machine
}

fn feed(first: u64, records: &[crate::event::EventRecord]) -> Feed {
    Feed {
        shard: SHARD,
        first_seq: Seq(first),
        records: records.into(),
    }
}

fn page(first: u64, records: &[crate::event::EventRecord]) -> Option<LogPage> {
    let events = (first..).map(Seq).zip(records.iter().cloned()).collect();
    Some(LogPage {
        events,
        through: Seq(first - 1 + records.len() as u64),
    })
}

fn flush(machine: &mut Machine, store: &mut Store) {
    while let Some(set) = machine.begin_write() {
        let moved = set.moves.iter().map(|step| step.shard).collect();
        store.write(set);
        machine.end_write(&Written {
            moved,
            ..Written::default()
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However the history is cut into writes, the rows are those of one write an event, and those of the domain's fold.
    #[test]
    fn rows_are_the_fold(seed in any::<u64>(), tasks in 0_u32..6, steps in 0_usize..500, cut in 1_usize..40) {
        let life = Life::random(seed, tasks, steps);
        let (mut one, mut many) = (Store::default(), Store::default());
        let (mut fine, mut coarse) = (live(), live());
        for (index, record) in life.records.iter().enumerate() {
            let feed = feed(index as u64 + 1, std::slice::from_ref(record));
            fine.feed(&feed);
            flush(&mut fine, &mut one);
            coarse.feed(&feed);
            if index % cut == 0 {
                flush(&mut coarse, &mut many);
            }
        }
        flush(&mut coarse, &mut many);
        prop_assert_eq!(&one, &many);

        let job = &life.job;
        let row = &one.jobs[&job.id()];
        prop_assert_eq!(&row.counters, job.counters());
        prop_assert_eq!(row.finished_at.is_some(), job.finished().is_some());
        prop_assert_eq!(row.deadline, job.deadline().map(|(due, _)| due));
        prop_assert_eq!(one.tasks.len() as u32, job.written());
        for number in 1..=job.written() {
            let (task, row) = (job.task(number).unwrap(), &one.tasks[&job.task_id(number)]);
            prop_assert_eq!(row.state, task.state());
            prop_assert_eq!(row.attempt, task.attempt().0);
            prop_assert_eq!(row.retry_count, task.retries_used());
            prop_assert_eq!(row.told.reason, task.reason());
            let due = task.timer().filter(|_| task.state() == TaskState::Failed).map(|(due, _)| due);
            prop_assert_eq!(row.next_retry_at, due);
            let attempts = one.attempts.range((job.task_id(number), 0)..=(job.task_id(number), u32::MAX)).count() as u32;
            let shown = u32::from(row.told.scheduled_at.is_some());
            prop_assert_eq!(attempts + shown, task.attempt().0, "every attempt is kept once");
        }
    }
}

#[test]
fn blocks_of_a_large_job_are_the_fold() {
    for seed in 0..20 {
        let life = Life::random(seed, 1_300, 400);
        let (mut machine, mut store) = (live(), Store::default());
        for (index, record) in life.records.iter().enumerate() {
            machine.feed(&feed(index as u64 + 1, std::slice::from_ref(record)));
            if index % 7 == 0 {
                flush(&mut machine, &mut store);
            }
        }
        flush(&mut machine, &mut store);
        let mut expected = std::collections::BTreeMap::<u32, [u32; 5]>::new();
        for number in 1..=1_300 {
            let state = life.job.task(number).map_or(TaskState::Ready, |task| task.state());
            expected.entry((number - 1) / 512).or_default()[state as usize] += 1;
        }
        assert_eq!(store.jobs[&life.job.id()].blocks, expected, "seed {seed}");
    }
}

#[test]
fn the_lives_hold_every_event_of_jobs_and_tasks() {
    let lives = (0..300).map(|seed| Life::random(seed, 4, 400)).collect::<Vec<_>>();
    let kinds = lives
        .iter()
        .flat_map(|life| &life.records)
        .map(|record| record.event.type_name());
    assert_eq!(kinds.collect::<std::collections::BTreeSet<_>>().len(), 15);
}

#[test]
fn a_gap_sends_the_shard_to_the_log() {
    let life = Life::random(7, 3, 200);
    let (mut machine, mut store) = (live(), Store::default());
    machine.feed(&feed(1, &life.records[..4]));
    machine.feed(&feed(9, &life.records[8..]));
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(4)
        }]
    );
    assert!(machine.wants().is_empty(), "a question is asked once");
    flush(&mut machine, &mut store);

    // A page that ends before what was fed meanwhile leaves it behind.
    machine.log(SHARD, Seq(4), page(5, &life.records[4..10]));
    assert!(!machine.is_live());
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(10)
        }]
    );
    machine.log(SHARD, Seq(10), page(11, &life.records[10..]));
    assert!(machine.is_live());
    flush(&mut machine, &mut store);
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn what_overlaps_is_taken_once() {
    let life = Life::random(11, 3, 200);
    let (mut machine, mut store) = (live(), Store::default());
    machine.feed(&feed(1, &life.records[..10]));
    machine.feed(&feed(5, &life.records[4..]));
    machine.feed(&feed(1, &life.records));
    flush(&mut machine, &mut store);
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn a_failed_write_is_read_again_from_the_cursor() {
    let life = Life::random(13, 3, 200);
    let (mut machine, mut store) = (live(), Store::default());
    machine.feed(&feed(1, &life.records[..10]));
    flush(&mut machine, &mut store);
    machine.feed(&feed(11, &life.records[10..20]));
    let lost = machine.begin_write().unwrap();
    assert_eq!((lost.moves[0].from, lost.moves[0].to), (Seq(10), Seq(20)));
    machine.feed(&feed(21, &life.records[20..]));
    machine.end_write(&Written {
        stalled: [SHARD].into(),
        ..Written::default()
    });
    assert!(
        machine.begin_write().is_none(),
        "what was gathered behind it is thrown away too"
    );
    assert!(machine.wants().is_empty(), "it waits for the restart");
    machine.restart(SHARD);
    assert_eq!(machine.wants(), [Want::Cursor(SHARD)]);
    machine.cursor(SHARD, Some(Seq(10)));
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(10)
        }]
    );
    machine.log(SHARD, Seq(10), page(11, &life.records[10..]));
    flush(&mut machine, &mut store);
    assert!(machine.is_live());
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn what_the_database_lost_is_read_again_though_nothing_follows() {
    let life = Life::random(13, 3, 200);
    let (mut machine, mut store) = (live(), Store::default());
    machine.feed(&feed(1, &life.records[..10]));
    flush(&mut machine, &mut store);
    let before = store.clone();
    machine.feed(&feed(11, &life.records[10..20]));
    flush(&mut machine, &mut store);
    assert_eq!(machine.believed(), [(SHARD, Seq(20))]);
    assert!(!machine.doubt(SHARD, Seq(20), Seq(20)));
    assert!(
        !machine.doubt(SHARD, Seq(10), Seq(5)),
        "what was asked has moved on since"
    );
    assert!(machine.is_live());
    // A crash took the second write back.
    store = before;
    assert!(machine.doubt(SHARD, Seq(20), Seq(10)));
    assert_eq!(machine.believed(), []);
    assert_eq!(machine.wants(), [Want::Cursor(SHARD)]);
    machine.cursor(SHARD, Some(Seq(10)));
    let after = Seq(10);
    assert_eq!(machine.wants(), [Want::Log { shard: SHARD, after }]);
    machine.log(SHARD, after, page(11, &life.records[10..]));
    let set = machine.begin_write().unwrap();
    assert_eq!(machine.believed(), [], "the outcome of the write will tell");
    let moved = [SHARD].into();
    store.write(set);
    machine.end_write(&Written {
        moved,
        ..Written::default()
    });
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn a_shard_that_is_opened_behind_its_log_reads_it() {
    let life = Life::random(29, 3, 200);
    let head = life.records.len() as u64;
    let (mut machine, mut store) = (Machine::new(10_000), Store::default());
    machine.open(SHARD, Seq(head));
    machine.wants();
    machine.cursor(SHARD, Some(Seq(0)));
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(0)
        }]
    );
    machine.log(SHARD, Seq(0), page(1, &life.records));
    flush(&mut machine, &mut store);
    assert!(machine.is_live() && machine.lag_events() == 0);
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn days_that_were_dropped_are_passed_over() {
    let life = Life::random(31, 3, 200);
    let (mut machine, mut store) = (Machine::new(10_000), Store::default());
    machine.open(SHARD, Seq(1_000_000));
    machine.wants();
    machine.cursor(SHARD, Some(Seq(0)));
    machine.wants();
    machine.log(
        SHARD,
        Seq(0),
        Some(LogPage {
            events: Vec::new(),
            through: Seq(500),
        }),
    );
    flush(&mut machine, &mut store);
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(500)
        }]
    );
    machine.log(
        SHARD,
        Seq(500),
        Some(LogPage {
            through: Seq(1_000_000),
            ..page(501, &life.records).unwrap()
        }),
    );
    assert!(machine.is_live());
    let set = machine.begin_write().unwrap();
    assert_eq!((set.moves[0].from, set.moves[0].to), (Seq(500), Seq(1_000_000)));
    store.write(set);
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn a_lost_feed_is_read_from_the_log_though_nothing_follows() {
    let life = Life::random(37, 3, 200);
    let head = life.records.len() as u64;
    let (mut machine, mut store) = (live(), Store::default());
    machine.feed(&feed(1, &life.records[..10]));
    machine.missed(SHARD, Seq(head));
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(10)
        }]
    );
    machine.log(SHARD, Seq(10), page(11, &life.records[10..20]));
    assert!(!machine.is_live());
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(20)
        }]
    );
    machine.log(SHARD, Seq(20), page(21, &life.records[20..]));
    flush(&mut machine, &mut store);
    assert!(machine.is_live());
    assert_eq!(&store.jobs[&life.job.id()].counters, life.job.counters());
}

#[test]
fn a_moved_cursor_is_read_again() {
    let life = Life::random(17, 3, 200);
    let mut machine = live();
    machine.feed(&feed(1, &life.records));
    machine.begin_write().unwrap();
    machine.end_write(&Written::default());
    assert_eq!(machine.wants(), [Want::Cursor(SHARD)]);
}

#[test]
fn more_than_may_be_gathered_is_left_to_the_log() {
    let life = Life::random(19, 5, 400);
    let mut machine = Machine::new(8);
    machine.open(SHARD, Seq(0));
    machine.wants();
    machine.cursor(SHARD, Some(Seq(0)));
    machine.feed(&feed(1, &life.records[..10]));
    machine.feed(&feed(11, &life.records[10..20]));
    assert!(!machine.is_live());
    assert_eq!(machine.gathered_events(), 10);
    assert!(machine.wants().is_empty(), "no room: nothing is read either");
    let mut store = Store::default();
    flush(&mut machine, &mut store);
    assert_eq!(
        machine.wants(),
        [Want::Log {
            shard: SHARD,
            after: Seq(10)
        }]
    );
}

#[test]
fn a_closed_shard_is_nobodys_business() {
    let life = Life::random(23, 3, 200);
    let mut machine = live();
    machine.feed(&feed(1, &life.records[..10]));
    machine.close(SHARD);
    assert!(machine.begin_write().is_none());
    machine.feed(&feed(11, &life.records[10..]));
    machine.cursor(SHARD, Some(Seq(4)));
    machine.log(SHARD, Seq(4), page(5, &life.records[4..]));
    assert!(machine.begin_write().is_none() && machine.wants().is_empty());
}

#[test]
fn a_worker_keeps_its_first_registration() {
    let mut store = Store::default();
    let mut machine = live();
    machine.feed(&feed(1, &life::worker_history()));
    flush(&mut machine, &mut store);
    let row = &store.workers["w"];
    assert_eq!((row.created_at.as_ms(), row.registered_at.as_ms()), (1_000, 3_000));
    assert!(
        row.left.is_none(),
        "the end of the earlier process is not that of the later one"
    );
}
