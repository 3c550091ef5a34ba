//! What can go wrong between this process and the log.

use crate::domain::{JobId, Position, ShardId};

/// An error of the log. None of them means that something was written, and none that nothing was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log's database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the log's database is not prepared: {0}; run `grid migrate`")]
    NotMigrated(String),
    #[error("the migrations cannot be applied: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the log has {found} shards, {wanted} are configured; their number is fixed at the first `grid migrate`")]
    ShardsDiffer { found: u16, wanted: u16 },
    #[error("{what} has format {found}, this program knows up to {known}; use the newer program that wrote it")]
    NewerFormat { what: String, found: i32, known: i32 },
    #[error("{0} does not exist in this log")]
    UnknownShard(ShardId),
    #[error("the database is not safe to use: {0}")]
    Unsafe(String),
    #[error("the event at {}/{} of {job} cannot be taken in: {why}", position.shard, position.seq)]
    UnreadableEvent {
        job: JobId,
        position: Position,
        why: String,
    },
    #[error("a newer owner has {0}")]
    Fenced(ShardId),
    #[error("a unit of work ended without a result: {0}")]
    Broken(String),
    #[error("the journal has ended")]
    JournalEnded,
}
