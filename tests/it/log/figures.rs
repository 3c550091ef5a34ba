//! Measurements, run by hand: `cargo test --release --test it log::figures -- --ignored --nocapture --test-threads 1`.

use std::time::Instant;

use futures::future::join_all;
use grid::domain::event::{Event, ReadyCause, TaskReady};
use grid::domain::{JobId, Seq, ShardId, StreamId, TaskId};
use grid::event::EventRecord;
use grid::log::{Journal, JournalOptions, Log};

use super::loading::Living;
use super::{Fixture, SHARDS, batch, committed, meta, run, service};
use uuid::Uuid;

#[test]
#[ignore = "a measurement"]
fn commit_throughput() {
    run(async {
        let fixture = Fixture::new().await;
        for (shards, events, commits) in [
            (1, 1, 1_000),
            (1, 64, 500),
            (1, 1_000, 100),
            (1, 4_000, 40),
            (8, 1, 500),
            (8, 64, 200),
            (8, 500, 50),
        ] {
            let mut claims = Vec::new();
            for shard in 0..shards {
                claims.push(fixture.claim(shard).await);
            }
            // Made beforehand: what is measured is the journal.
            let batches: Vec<Vec<_>> = claims
                .iter()
                .map(|_| (0..commits).map(|_| ready_tasks(events)).collect())
                .collect();
            let cpu = backend_cpu(&fixture);
            let started = Instant::now();
            let one = async |claimed: &grid::log::Claimed, batches: Vec<Vec<_>>| {
                let mut next = claimed.next_seq.0;
                for events in batches {
                    next = committed(fixture.journal.commit(batch(claimed, Seq(next), events)).await)
                        .last_seq
                        .0
                        + 1;
                }
            };
            join_all(
                claims
                    .iter()
                    .zip(batches)
                    .map(|(claimed, batches)| one(claimed, batches)),
            )
            .await;
            let took = started.elapsed();
            let rate = (usize::from(shards) * events * commits) as f64 / took.as_secs_f64();
            let each = took.as_secs_f64() * 1e3 / commits as f64;
            // Of the journal's backend: that figure stands also when others use the machine.
            let cpu = (backend_cpu(&fixture) - cpu) * 1e6 / (usize::from(shards) * events * commits) as f64;
            println!(
                "{shards} shards, {events} events a batch: {rate:.0} events/s, {each:.2} ms a commit, {cpu:.1} us CPU an event"
            );
        }
    });
}

/// The commonest events: tasks of one job that become READY.
fn ready_tasks(count: usize) -> Vec<EventRecord> {
    let (now, job) = (grid::clock::now(), JobId(Uuid::now_v7()));
    let event = |number| EventRecord {
        stream: StreamId::Task(TaskId { job, number }),
        version: 1,
        meta: meta(now),
        event: Event::TaskReady(TaskReady {
            cause: ReadyCause::Submission,
        }),
    };
    (1..=count as u32).map(event).collect()
}

/// Seconds of CPU that the journal's backend has used.
fn backend_cpu(fixture: &Fixture) -> f64 {
    let pids = fixture.psql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%WITH b AS%'
         AND pid <> pg_backend_pid()",
    );
    let ticks = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
        fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
    };
    pids.lines().map(ticks).sum::<f64>() / 100.0
}

/// 1,000,000 finished tasks and 100,000 unfinished ones.
#[test]
#[ignore = "a measurement"]
fn load_time() {
    run(async {
        let fixture = Fixture::new().await;
        let (jobs, tasks) = (250, 500);
        let started = Instant::now();
        let mut events = 0;
        for shard in 0..SHARDS {
            let mut living = Living::new(&fixture, shard, u64::from(shard)).await;
            for _ in 0..jobs {
                let (id, mut records) = living.histories.submit(tasks);
                records.extend(living.histories.complete(id));
                living.commit(&fixture, records).await;
                if living.dirty.len() >= 50 {
                    living.snapshot(&fixture).await;
                    living.histories.jobs.clear();
                }
            }
            // Half of the unfinished ones are in snapshots, half in the tail; many small jobs and a few large ones.
            for round in 0..2 {
                let mut records = Vec::new();
                for tasks in [1_000, 1_000, 1_000].into_iter().chain([1; 3_250]) {
                    records.extend(living.histories.submit(tasks).1);
                    if records.len() > 2_000 {
                        living.commit(&fixture, std::mem::take(&mut records)).await;
                    }
                }
                living.commit(&fixture, records).await;
                if round == 0 {
                    living.snapshot(&fixture).await;
                    living.histories.jobs.clear();
                }
            }
            events += living.next - 1;
        }
        println!("made {events} events in {:?}", started.elapsed());
        // Another process.
        let log = Log::connect(service(&fixture.url)).await.unwrap();
        let journal = Journal::start_here(log.clone(), JournalOptions::default());
        let started = Instant::now();
        let load = async |shard| {
            let claimed = journal.claim(ShardId(shard), "new").await.unwrap();
            log.load(&claimed, grid::clock::now()).await.unwrap()
        };
        let loaded = join_all((0..SHARDS).map(load)).await;
        let took = started.elapsed();
        let unfinished: u32 = loaded
            .iter()
            .flat_map(|it| &it.jobs)
            .map(|job| job.counters().unfinished())
            .sum();
        let finished: usize = loaded.iter().map(|it| it.finished.len()).sum();
        let tail: usize = loaded.iter().map(|it| it.tail_events).sum();
        println!(
            "loaded {unfinished} unfinished tasks, {finished} ids of finished jobs, {tail} tail events in {took:?}"
        );
        assert_eq!(unfinished, 100_000);
        let started = Instant::now();
        let report = log.verify(Default::default(), None).await.unwrap();
        println!(
            "verified {} events of {} jobs in {:?}",
            report.events,
            report.jobs,
            started.elapsed()
        );
        assert!(
            report.is_clean(),
            "{:?}",
            &report.differences[..3.min(report.differences.len())]
        );
    });
}
