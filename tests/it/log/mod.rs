//! The log on a real Postgres.

mod append;
mod figures;
pub mod histories;
mod loading;
mod looking_back;
mod rights;
mod upgrading;
mod verifying;

use std::future::Future;
use std::sync::Arc;

use grid::config::Secret;
use grid::domain::event::{Event, WorkerLeft};
use grid::domain::{Epoch, Incarnation, Seq, ShardId, StreamId, Timestamp};
use grid::event::{EventRecord, Meta};
use grid::log::{
    Claimed, CommitOutcome, Committed, Cursor, Journal, JournalHandle, JournalOptions, Log, Options, ShardBatch,
    migrate,
};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use uuid::Uuid;

use crate::support::Postgres;

pub const SHARDS: u16 = 8;

/// Runs a test inside an actix system, which the journal's actor needs.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(test)
}

/// A migrated database of its own, and the log over it as the service role.
pub struct Fixture {
    /// Of the superuser.
    pub url: String,
    pub postgres: &'static Postgres,
    pub log: Log,
    pub journal: JournalHandle,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(|options| options, JournalOptions::default()).await
    }

    pub async fn with(change: impl FnOnce(Options) -> Options, journal: JournalOptions) -> Self {
        let postgres = Postgres::shared();
        let url = postgres.fresh_database();
        migrate(&Secret::new(url.clone()), SHARDS).await.unwrap();
        let log = Log::connect(change(service(&url))).await.unwrap();
        log.check(Some(SHARDS)).await.unwrap();
        let journal = Journal::start_here(log.clone(), journal);
        Self {
            url,
            postgres,
            log,
            journal,
        }
    }

    pub async fn claim(&self, shard: u16) -> Claimed {
        self.journal.claim(ShardId(shard), "test").await.unwrap()
    }

    /// What the superuser sees.
    pub fn psql(&self, sql: &str) -> String {
        self.postgres.psql(&self.url, sql)
    }
}

/// Options of the service role, which needs no password here.
pub fn service(url: &str) -> Options {
    let mut options = Options::new(Secret::new(url.replace("//postgres@", "//grid@")));
    options.max_connections = 4;
    options
}

pub fn cursor(commands: i64) -> Cursor {
    Cursor {
        bus: Arc::from("test-bus"),
        commands,
        reports: 0,
    }
}

pub fn batch(claimed: &Claimed, first_seq: Seq, events: Vec<EventRecord>) -> ShardBatch {
    at_epoch(claimed.shard, claimed.epoch, first_seq, events)
}

pub fn at_epoch(shard: ShardId, epoch: Epoch, first_seq: Seq, events: Vec<EventRecord>) -> ShardBatch {
    ShardBatch {
        shard,
        epoch,
        first_seq,
        events: events.into(),
        cursor: cursor(0),
        published: Seq(0),
        closed_before: 0,
    }
}

#[track_caller]
pub fn committed(outcome: CommitOutcome) -> Committed {
    match outcome {
        CommitOutcome::Committed(committed) => committed,
        other => panic!("not committed: {other:?}"),
    }
}

pub fn meta(at: Timestamp) -> Meta {
    Meta {
        at,
        principal: Arc::from("tester"),
        command: None,
        causation: None,
        traceparent: None,
    }
}

/// The smallest event there is: each is the first of a stream of its own.
pub fn tiny(at: Timestamp) -> EventRecord {
    let incarnation = Incarnation(Uuid::now_v7());
    EventRecord {
        stream: StreamId::Worker(incarnation),
        version: 1,
        meta: meta(at),
        event: Event::WorkerLeft(WorkerLeft {
            worker: "w".parse().unwrap(),
            incarnation,
            cause: grid::domain::event::WorkerEnd::Lost,
        }),
    }
}

pub fn tinies(count: usize) -> Vec<EventRecord> {
    let now = grid::clock::now();
    (0..count).map(|_| tiny(now)).collect()
}

/// Why the database refuses a statement.
pub async fn refusal(connection: &mut PgConnection, sql: &str) -> String {
    match connection.execute(AssertSqlSafe(sql.to_owned())).await {
        Ok(_) => panic!("not refused: {sql}"),
        Err(error) => error.to_string(),
    }
}
