//! What can go wrong between this process and the log.

use super::Format;
use super::reach::{Place, told};
use crate::config::OLDEST_POSTGRES;
use crate::domain::{JobId, Position, ShardId};

/// An error of the log. None of them means that something was written, and none that nothing was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log's database: {}", told(.0))]
    Database(#[from] sqlx::Error),
    #[error("it is no URL of Postgres (postgres://USER:PASSWORD@HOST:PORT/DATABASE): {0}")]
    BadUrl(String),
    #[error("{place} cannot be used as {user}: {why}; {advice}")]
    Unreachable {
        place: Place,
        user: String,
        why: String,
        advice: &'static str,
    },
    #[error(
        "{place} is of Postgres {found}, and {OLDEST_POSTGRES} or newer is needed: move it to a newer server (pg_upgrade, \
         or a dump), or name another one"
    )]
    OldPostgres { place: Place, found: String },
    #[error("the log's database is not prepared: {0}; run `grid migrate`")]
    NotMigrated(String),
    #[error("the migrations cannot be applied: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the log has {found} shards, {wanted} are configured; their number is fixed at the first `grid migrate`")]
    ShardsDiffer { found: u16, wanted: u16 },
    #[error(
        "{what} has format {found}, and this program knows up to {known}: an upgrade to a newer one was finished \
         (`grid migrate --finish-upgrade`), after which older ones are refused; run the newer program"
    )]
    NewerFormat { what: String, found: i32, known: i32 },
    #[error(
        "the upgrade to format {wanted} of the log cannot be finished, because older programs still run: {older}; replace \
         or end them (one that was killed counts for 15 s) and try again"
    )]
    OlderProcesses { wanted: i32, older: String },
    #[error("no new timeline was begun: {0}")]
    NotRestorable(String),
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

impl Error {
    /// For what a newer program has written.
    pub(super) fn newer(what: impl Into<String>, found: Format) -> Self {
        Self::NewerFormat {
            what: what.into(),
            found: found.number(),
            known: Format::known().number(),
        }
    }
}
