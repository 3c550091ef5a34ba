//! How fast reading is; run by hand: `cargo test --release --test it api::speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::Fixture;

/// Times of `count` calls, sorted.
async fn times(grid: &Fixture, count: u32, path: impl Fn(u32) -> String) -> Vec<Duration> {
    let mut times = Vec::new();
    for index in 0..count {
        let path = path(index);
        let begun = Instant::now();
        grid.get(&path).await;
        times.push(begun.elapsed());
    }
    times.sort();
    times
}

fn print(what: &str, times: &[Duration]) {
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!(
        "{what}: p50 {:?}, p99 {:?}, most {:?}",
        at(50),
        at(99),
        times[times.len() - 1]
    );
}

#[actix_web::test]
#[ignore = "measures"]
async fn lists_of_a_hundred_thousand_jobs() {
    let grid = Fixture::new().await;
    grid.psql(
        "INSERT INTO grid_read.jobs (id, shard, external_id, labels, document_hash, principal, task_count, created_at,
             finished_at, seq, ready, scheduled, running, completed, failed, retries_pending, final_error,
             final_timeout, final_killed, final_worker_lost, final_handed_back, final_invalid_dag,
             final_authentication, final_unrecoverable)
         SELECT gen_random_uuid(), n % 4, 'job ' || n, '{\"team\": \"seismology\"}', repeat('ab', 32), 'anonymous', 10,
             now() - n * interval '1 second', now(), n, 0, 0, 0, 9, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0
         FROM generate_series(100000, 1, -1) n;
         UPDATE grid_read.projection_cursors SET jobs = 25000",
    );
    print("first page", &times(&grid, 1_000, |_| "/api/v1/jobs".to_owned()).await);
    print(
        "any page",
        &times(&grid, 1_000, |n| format!("/api/v1/jobs?page={}", n * 4_987 % 5_000)).await,
    );
    print(
        "the deepest page",
        &times(&grid, 200, |_| "/api/v1/jobs?page=2500".to_owned()).await,
    );
    print(
        "500 a page",
        &times(&grid, 200, |n| format!("/api/v1/jobs?size=500&page={n}")).await,
    );
    let plan = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) SELECT * FROM (
                    SELECT created_at, id FROM grid_read.jobs ORDER BY created_at DESC, id DESC LIMIT 20 OFFSET 50000
                ) k JOIN grid_read.jobs j USING (id) ORDER BY k.created_at DESC, k.id DESC";
    println!("{}", grid.psql(plan));
    grid.stop().await;
}

#[actix_web::test]
#[ignore = "measures"]
async fn a_submission() {
    let grid = Fixture::new().await;
    let mut times = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        grid.submit("tasks: [{ externalId: a, executor: noop }]").await;
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times.sort();
    print("submit, answered with the job as read", &times);
    grid.stop().await;
}
