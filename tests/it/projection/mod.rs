//! The projector on a real Postgres.

mod history;
mod real;
mod speed;

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use futures::future::BoxFuture;
use grid::config::Secret;
use grid::domain::{Position, Seq, ShardId};
use grid::event::EventRecord;
use grid::log::migrate;
use grid::projection::{
    Feed, LogError, LogPage, LogPages, ProjectionOptions, ProjectorHandle, ProjectorParts, Watermarks, Writer,
};
use sqlx::PgPool;
use tokio::time::Instant;

use self::history::{Log, job};
use crate::support::{Postgres, eventually};

/// A database with read models, and a projector of it.
pub struct Bench {
    pub url: String,
    pub log: Arc<Log>,
    pub watermarks: Watermarks,
    pub projector: ProjectorHandle,
    _arbiter: Arbiter,
}

impl LogPages for Log {
    fn page(&self, shard: ShardId, after: Seq, most: u32) -> BoxFuture<'static, Result<LogPage, LogError>> {
        let records = self.page(shard, after, most as usize);
        let through = Seq(after.0 + records.len() as u64);
        let events = (after.0 + 1..).map(Seq).zip(records).collect();
        Box::pin(async move { Ok(LogPage { events, through }) })
    }
}

impl Bench {
    pub async fn start(postgres: &Postgres, options: ProjectionOptions) -> Self {
        let url = postgres.fresh_database();
        migrate(&Secret::new(url.clone()), 64).await.unwrap();
        let pool = PgPool::connect(&url.replace("//postgres@", "//grid@")).await.unwrap();
        Self::on(url, pool, Arc::new(Log::default()), options)
    }

    fn on(url: String, pool: PgPool, log: Arc<Log>, options: ProjectionOptions) -> Self {
        let watermarks = Watermarks::new(64, pool.clone());
        let writer = Writer::new(&pool);
        let parts = ProjectorParts {
            options,
            writer,
            log: log.clone(),
            watermarks: watermarks.clone(),
        };
        let arbiter = Arbiter::new();
        let projector = ProjectorHandle::start(parts, arbiter.handle());
        Self {
            url,
            log,
            watermarks,
            projector,
            _arbiter: arbiter,
        }
    }

    /// Appends to the log and feeds the projector.
    pub fn commit(&self, shard: ShardId, records: Vec<EventRecord>) -> Position {
        let feed: Feed = self.log.append(shard, records);
        let seq = Seq(feed.first_seq.0 + feed.records.len() as u64 - 1);
        self.projector.feed(feed);
        Position { shard, seq }
    }

    pub async fn reached(&self, position: Position) {
        self.watermarks
            .wait_for(position, Instant::now() + Duration::from_secs(20))
            .await
            .unwrap();
    }
}

const SHARD: ShardId = ShardId(5);

#[actix_web::test]
async fn what_was_committed_is_soon_in_the_rows() {
    let postgres = Postgres::shared();
    let bench = Bench::start(postgres, ProjectionOptions::default()).await;
    bench.projector.open(SHARD, Seq(0));
    let job = job(SHARD, 3);
    bench.reached(bench.commit(SHARD, job.submitted())).await;
    let row = "SELECT ready, completed, failed, task_count, status, labels->>'team' FROM grid_read.jobs";
    assert_eq!(postgres.psql(&bench.url, row), "3|0|0|3|RUNNING|seismology");
    bench.commit(SHARD, job.completed(1));
    bench.commit(SHARD, job.completed(2));
    bench.reached(bench.commit(SHARD, job.failed(3))).await;
    assert_eq!(postgres.psql(&bench.url, row), "0|2|1|3|FAILED|seismology");
    let tasks = "SELECT number, state, attempt, worker, reason, failure->>'exitCode' FROM grid_read.tasks ORDER BY 1";
    assert_eq!(
        postgres.psql(&bench.url, tasks),
        "1|COMPLETED|1|w1||\n2|COMPLETED|1|w1||\n3|FAILED|1|w1|ERROR|2"
    );
    assert_eq!(
        postgres.psql(&bench.url, "SELECT seq, jobs FROM grid_read.projection_cursors"),
        "13|1"
    );
}

#[actix_web::test]
async fn what_is_committed_right_after_the_opening_is_taken_in() {
    let bench = Bench::start(Postgres::shared(), ProjectionOptions::default()).await;
    for shard in (0..64).map(ShardId) {
        // The projector has nothing else to do.
        bench.projector.progress().await.unwrap();
        bench.projector.open(shard, Seq(0));
        bench.reached(bench.commit(shard, job(shard, 1).submitted())).await;
    }
}

/// Rows are written without waiting for the disk.
#[actix_web::test]
async fn what_a_crash_of_postgres_took_back_is_written_again() {
    let postgres = Postgres::start();
    let bench = Bench::start(&postgres, ProjectionOptions::default()).await;
    bench.projector.open(SHARD, Seq(0));
    let job = job(SHARD, 3);
    bench.reached(bench.commit(SHARD, job.submitted())).await;
    bench.reached(bench.commit(SHARD, job.completed(1))).await;
    let last = bench.commit(SHARD, job.completed(2));
    bench.reached(last).await;
    postgres.kill();
    postgres.restart();
    let row = "SELECT ready, completed FROM grid_read.jobs";
    // Nothing follows that would show it.
    eventually("the rows to come back", Duration::from_secs(30), async || {
        (postgres.psql(&bench.url, row) == "1|2").then_some(())
    })
    .await;
    bench.reached(last).await;
}
