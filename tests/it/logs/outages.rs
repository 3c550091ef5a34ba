//! A store that does not take lines, and workers whose tasks write on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grid::api::{ApiParts, serve};
use grid::domain::Incarnation;
use grid::logs::{Batch, Key, LogStore, Page, Question, Search, StoreError};
use grid::worker::WorkerOptions;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::api::fixture::{Fixture, text};
use crate::api::workers::Yard;
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(60);

/// What stands between the API and its store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Open,
    /// Whoever comes waits.
    Held,
    /// Whoever comes is sent away.
    Refusing,
}

/// The real store behind a door for what is handed over.
struct Guarded {
    store: Arc<dyn LogStore>,
    door: watch::Receiver<Door>,
    /// How many were sent away.
    refused: watch::Sender<u32>,
}

#[async_trait]
impl LogStore for Guarded {
    async fn add(&self, batch: Batch) -> Result<(), StoreError> {
        let mut door = self.door.clone();
        let state = *door.wait_for(|door| *door != Door::Held).await.unwrap();
        match state {
            Door::Open => self.store.add(batch).await,
            Door::Held | Door::Refusing => {
                self.refused.send_modify(|refused| *refused += 1);
                Err(StoreError::Unavailable("the door is shut".to_owned()))
            }
        }
    }

    async fn check(&self, question: &Question) -> Result<(), StoreError> {
        self.store.check(question).await
    }

    async fn search(&self, search: &Search) -> Result<Page, StoreError> {
        self.store.search(search).await
    }

    async fn head(&self) -> Result<Key, StoreError> {
        self.store.head().await
    }

    async fn after(&self, question: &Question, after: Key, limit: u32) -> Result<(Page, Key), StoreError> {
        self.store.after(question, after, limit).await
    }

    async fn of_worker(
        &self,
        question: &Question,
        worker_id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.store.of_worker(question, worker_id, after, limit).await
    }

    async fn can_erase(&self) -> Result<&'static str, StoreError> {
        self.store.can_erase().await
    }

    async fn erase(&self, job_id: &str) -> Result<(), StoreError> {
        self.store.erase(job_id).await
    }

    fn lag(&self) -> Duration {
        self.store.lag()
    }

    async fn changed(&self, after: Key) {
        self.store.changed(after).await;
    }
}

async fn until_completed(grid: &Fixture, job: &str) {
    eventually("the job is finished", SOON, async || {
        let seen = grid.get(&format!("/api/v1/jobs/{job}")).await;
        (seen["status"] == "COMPLETED").then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_dead_store_slows_no_task_and_what_it_costs_is_bounded_and_told() {
    const LINES: u64 = 5_000;
    let grid = Fixture::new().await;
    let (shut, door) = watch::channel(Door::Held);
    let (refused, mut refusals) = watch::channel(0);
    let parts = ApiParts {
        node: Incarnation(Uuid::now_v7()),
        logs: Arc::new(Guarded {
            store: Arc::clone(&grid.parts.logs),
            door,
            refused,
        }),
        ..grid.parts.clone()
    };
    let server = serve("127.0.0.1:0".parse().unwrap(), parts).await.unwrap();
    let mut workers = Yard::new();
    workers.api_url = Some(format!("http://{}", server.address));
    workers.options = WorkerOptions {
        log_lines_per_second: 1_000_000,
        log_bytes_per_second: 1_000_000_000,
        ..WorkerOptions::default()
    };
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    // 100 MB, which is more than may wait.
    let command = format!(
        "line=$(head -c 20000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo \"$i $line\"; done"
    );
    let document = json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", command]}]}).to_string();
    let begun = Instant::now();
    let job = text(&grid.submit(&document).await["jobId"]).to_owned();
    until_completed(&grid, &job).await;
    println!("{LINES} lines of 20 kB into nothing: {:?}", begun.elapsed());
    assert_eq!(grid.psql("SELECT count(*) FROM log_lines"), "0");

    // Refused a while, and then taken.
    shut.send_replace(Door::Refusing);
    let often = refusals.wait_for(|refused| *refused >= 2);
    drop(tokio::time::timeout(SOON, often).await.unwrap().unwrap());
    shut.send_replace(Door::Open);
    let number = |sql: &str| grid.psql(sql).parse::<u64>().unwrap();
    let accounts = || {
        let numbered = "FROM log_lines WHERE message ~ '^[0-9]+ xxx'";
        let kept = number(&format!("SELECT count(DISTINCT message) {numbered}"));
        let told = number(
            "SELECT coalesce(sum((fields->>'dropped_lines')::bigint), 0) FROM log_lines WHERE source = 'worker'",
        );
        let by_queue = number(
            "SELECT coalesce(sum(substring(message from '\\[([0-9]+) lines dropped: the log')::bigint), 0) FROM log_lines
             WHERE message LIKE '%the log could not keep up%'",
        );
        (
            kept,
            number(&format!("SELECT count(*) {numbered}")) - kept,
            told,
            by_queue,
        )
    };
    let (kept, twice, told, by_queue) = eventually("every line is there, or told of", SOON, async || {
        let (kept, twice, told, by_queue) = accounts();
        (kept + told + by_queue >= LINES).then_some((kept, twice, told, by_queue))
    })
    .await;
    println!("{kept} kept, {told} dropped for want of room, {by_queue} for want of time");
    assert_eq!(
        (twice, kept + told + by_queue),
        (0, LINES),
        "each line is kept once, or told of"
    );
    // What waited was bounded: 32 MiB, besides the batch on its way.
    assert!(told > 0 && kept > 500 && kept * 20_000 < 36 << 20, "{told} {kept}");
    worker.drain();
    worker.ended().await;
    server.stop().await;
    grid.stop().await;
}
