//! Measurements, run by hand: `cargo test --release --test it log::figures -- --ignored --nocapture --test-threads 1`.

use std::time::Instant;

use futures::future::join_all;
use grid::domain::{Seq, ShardId};
use grid::log::{Journal, JournalOptions, Log};

use super::loading::Living;
use super::{Fixture, SHARDS, batch, committed, run, service, tinies};

#[test]
#[ignore = "a measurement"]
fn commit_throughput() {
    run(async {
        let fixture = Fixture::new().await;
        for (shards, events, commits) in
            [(1, 1, 1_000), (1, 64, 500), (1, 1_000, 100), (1, 4_000, 40), (8, 1, 500), (8, 64, 200), (8, 500, 50)]
        {
            let mut claims = Vec::new();
            for shard in 0..shards {
                claims.push(fixture.claim(shard).await);
            }
            // Made beforehand: what is measured is the journal.
            let batches: Vec<Vec<_>> =
                claims.iter().map(|_| (0..commits).map(|_| tinies(events)).collect()).collect();
            let started = Instant::now();
            let one = async |claimed: &grid::log::Claimed, batches: Vec<Vec<_>>| {
                let mut next = claimed.next_seq.0;
                for events in batches {
                    next = committed(fixture.journal.commit(batch(claimed, Seq(next), events)).await).last_seq.0 + 1;
                }
            };
            join_all(claims.iter().zip(batches).map(|(claimed, batches)| one(claimed, batches))).await;
            let took = started.elapsed();
            let rate = (usize::from(shards) * events * commits) as f64 / took.as_secs_f64();
            let each = took.as_secs_f64() * 1e3 / commits as f64;
            println!("{shards} shards, {events} events a batch: {rate:.0} events/s, {each:.2} ms a commit");
        }
    });
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
                for tasks in [1_000, 1_000, 1_000].into_iter().chain([1; 3_250]) {
                    let (_, records) = living.histories.submit(tasks);
                    living.commit(&fixture, records).await;
                }
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
        let unfinished: u32 = loaded.iter().flat_map(|it| &it.jobs).map(|job| job.counters().unfinished()).sum();
        let finished: usize = loaded.iter().map(|it| it.finished.len()).sum();
        let tail: usize = loaded.iter().map(|it| it.tail_events).sum();
        println!("loaded {unfinished} unfinished tasks, {finished} ids of finished jobs, {tail} tail events in {took:?}");
        assert_eq!(unfinished, 100_000);
        let started = Instant::now();
        let report = log.verify(Default::default(), None).await.unwrap();
        println!("verified {} events of {} jobs in {:?}", report.events, report.jobs, started.elapsed());
        assert!(report.is_clean(), "{:?}", &report.differences[..3.min(report.differences.len())]);
    });
}
