//! Taking a shard over: a new epoch fences whoever had it.
//!
//! Must stay true: every load begins with a claim, and every claim raises the epoch; what holds the shard's row too long
//! is ended, because a claim that waits is a shard that stands still. A shard of a newer format than this program knows is
//! not claimed; one of an older format stays so that older programs may have it, until the log's own format is raised.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::batch::Cursor;
use super::chain::Hash;
use super::{Error, Format, Log};
use crate::domain::{Epoch, Seq, ShardId, Timestamp};

/// A shard that is ours until somebody else claims it.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub shard: ShardId,
    pub epoch: Epoch,
    pub next_seq: Seq,
    /// Time of the last event: no later one may have an earlier time.
    pub last_at: Timestamp,
    pub cursor: Cursor,
    pub published: Seq,
    /// Every job changed up to here has a snapshot that knows it.
    pub snapshot_seq: Seq,
    pub closed_before: i32,
    pub timeline: Uuid,
    /// How many shards the log has.
    pub shards: u16,
    /// Of the log: what is written.
    pub format: Format,
    pub(super) last_hash: Hash,
}

const CLAIM: &str = "
UPDATE shards s SET epoch = epoch + 1, owner = $2, claimed_at = clock_timestamp(),
    log_format = greatest(s.log_format, m.log_format)
FROM log_meta m
WHERE s.shard = $1 AND s.log_format <= $3 AND m.log_format <= $3
RETURNING s.epoch, s.next_seq, s.last_at, s.bus, s.command_cursor, s.report_cursor, s.published_seq, s.snapshot_seq,
          s.closed_before, m.timeline, m.shards, s.last_hash, m.log_format";

impl Log {
    /// Claims a shard for `owner` (an incarnation, for people). To append as well, claim through the journal.
    pub async fn claim(&self, shard: ShardId, owner: &str) -> Result<Claimed, Error> {
        let (log, owner) = (self.clone(), owner.to_owned());
        self.run("log.claim", async move { log.claim_row(shard, owner).await })
            .await
    }

    async fn claim_row(&self, shard: ShardId, owner: String) -> Result<Claimed, Error> {
        // Ending a blocker takes a second connection, so claims never take all of them.
        let _one_of_few = self
            .inner
            .claims
            .acquire()
            .await
            .map_err(|error| Error::Broken(error.to_string()))?;
        let mut connection = self.inner.pool.acquire().await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *connection)
            .await?;
        let mut update = Box::pin(update(&mut connection, shard, &owner));
        let patience = self.inner.options.claim_patience;
        let row = loop {
            // The update itself is never dropped: it ends by itself, at the latest by Postgres' lock timeout.
            match tokio::time::timeout(patience, &mut update).await {
                Ok(row) => break row?,
                Err(_) => {
                    if let Err(error) = end_blockers(&self.inner.pool, backend, shard, patience).await {
                        tracing::warn!(shard = shard.0, error = %error, "log.blocking_backend_not_ended");
                    }
                }
            }
        };
        drop(update);
        match row {
            Some(row) => {
                let claimed = read(&row, shard)?;
                self.heard(claimed.format);
                Ok(claimed)
            }
            None => Err(self.why_not(&mut connection, shard).await?),
        }
    }

    /// Nothing was updated: the shard is not there, or its events are too new for this program.
    async fn why_not(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Error, Error> {
        let formats =
            "SELECT greatest(s.log_format, m.log_format) FROM shards s CROSS JOIN log_meta m WHERE s.shard = $1";
        let found = sqlx::query_scalar(formats)
            .bind(shard.0 as i16)
            .fetch_optional(connection)
            .await?;
        let Some(found) = found.map(Format) else {
            return Ok(Error::UnknownShard(shard));
        };
        self.heard(found);
        Ok(Error::newer(format!("shard {shard}"), found))
    }
}

async fn update(
    connection: &mut PgConnection,
    shard: ShardId,
    owner: &str,
) -> Result<Option<sqlx::postgres::PgRow>, sqlx::Error> {
    sqlx::query(CLAIM)
        .bind(shard.0 as i16)
        .bind(owner)
        .bind(Format::known().number())
        .fetch_optional(connection)
        .await
}

async fn end_blockers(pool: &PgPool, backend: i32, shard: ShardId, patience: Duration) -> Result<(), Error> {
    let blockers = "SELECT pid, pg_terminate_backend(pid) FROM unnest(pg_blocking_pids($1)) AS pid WHERE pid > 0";
    for row in sqlx::query(blockers).bind(backend).fetch_all(pool).await? {
        let pid: i32 = row.try_get(0)?;
        metrics::counter!("grid_log_blockers_ended_total").increment(1);
        tracing::warn!(shard = shard.0, backend = pid, waited = ?patience, "log.blocking_backend_ended");
    }
    Ok(())
}

fn read(row: &sqlx::postgres::PgRow, shard: ShardId) -> Result<Claimed, Error> {
    let hash: Vec<u8> = row.try_get(11)?;
    let last_hash = Hash::from_slice(&hash)
        .ok_or_else(|| Error::Unsafe(format!("the last hash of shard {shard} is no SHA-256")))?;
    Ok(Claimed {
        shard,
        epoch: Epoch(row.try_get::<i64, _>(0)? as u64),
        next_seq: Seq(row.try_get::<i64, _>(1)? as u64),
        last_at: Timestamp::from_ms(row.try_get(2)?),
        cursor: Cursor {
            bus: row.try_get::<&str, _>(3)?.into(),
            commands: row.try_get(4)?,
            reports: row.try_get(5)?,
        },
        published: Seq(row.try_get::<i64, _>(6)? as u64),
        snapshot_seq: Seq(row.try_get::<i64, _>(7)? as u64),
        closed_before: row.try_get(8)?,
        timeline: row.try_get(9)?,
        shards: row.try_get::<i16, _>(10)? as u16,
        format: Format(row.try_get(12)?),
        last_hash,
    })
}
