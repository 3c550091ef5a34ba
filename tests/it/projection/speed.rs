//! How fast the projector is; run by hand: `cargo test --release --test it projection::speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use grid::domain::{Seq, ShardId};
use grid::projection::ProjectionOptions;

use super::Bench;
use super::history::{PlainJob, job};
use crate::support::Postgres;

async fn wait(bench: &Bench) {
    bench.projector.drained().await;
}

#[actix_web::test]
#[ignore = "measures"]
async fn a_million_ready_tasks_of_one_job() {
    let postgres = Postgres::start();
    let bench = Bench::start(&postgres, ProjectionOptions::default()).await;
    let shard = ShardId(1);
    bench.projector.open(shard, Seq(0));
    let job = job(shard, 1_000_000);
    let begun = Instant::now();
    bench.commit(shard, job.submitted());
    for chunk in 0..250 {
        bench.commit(
            shard,
            (1..=4_000).map(|number| job.ready(chunk * 4_000 + number)).collect(),
        );
    }
    let fed = begun.elapsed();
    wait(&bench).await;
    println!(
        "1,000,000 READY tasks: fed in {fed:?}, written in {:?}",
        begun.elapsed()
    );
    println!(
        "{}",
        postgres.psql(
            &bench.url,
            "SELECT count(*), pg_size_pretty(pg_total_relation_size('grid_read.tasks')) FROM grid_read.tasks"
        )
    );
}

/// Tasks pass through their four events in waves, many shards side by side, as fast as asked.
#[actix_web::test]
#[ignore = "measures"]
async fn a_stream_of_tasks() {
    for (rate, depth) in [(20_000, 100), (20_000, 1_000), (40_000, 1_000)] {
        stream(rate, depth).await;
    }
}

async fn stream(rate: u64, depth: u32) {
    const SHARDS: u16 = 8;
    let postgres = Postgres::start();
    let bench = Bench::start(&postgres, ProjectionOptions::default()).await;
    let jobs: Vec<PlainJob> = (0..SHARDS)
        .map(|shard| {
            bench.projector.open(ShardId(shard), Seq(0));
            let job = job(ShardId(shard), 100_000);
            bench.commit(ShardId(shard), job.submitted());
            job
        })
        .collect();
    let begun = Instant::now();
    let mut tasks = 0_u64;
    let mut next = 1;
    // Each round moves a window of tasks one event on, so that a task's life takes four rounds.
    while tasks < rate * 10 {
        for (shard, job) in jobs.iter().enumerate() {
            let mut records = Vec::new();
            for number in next..next + depth {
                records.push(job.ready(number));
                for (back, event) in [
                    (1, PlainJob::scheduled as fn(PlainJob, u32) -> _),
                    (2, PlainJob::started),
                    (3, PlainJob::ended),
                ] {
                    if let Some(number) = number.checked_sub(back * depth).filter(|number| *number > 0) {
                        records.push(event(*job, number));
                    }
                }
            }
            bench.commit(ShardId(shard as u16), records);
        }
        next += depth;
        tasks += u64::from(depth) * u64::from(SHARDS);
        let due = Duration::from_secs_f64(tasks as f64 / rate as f64);
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
    }
    let fed = begun.elapsed();
    wait(&bench).await;
    println!(
        "{tasks} tasks at {rate}/s, {depth} a commit: fed in {fed:?}, written in {:?}",
        begun.elapsed()
    );
    println!(
        "{}",
        postgres.psql(
            &bench.url,
            "SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'tasks'"
        )
    );
}
