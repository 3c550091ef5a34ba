//! The places in the bus that the log remembers, and setting them anew when the bus has lost what they point at.
//!
//! Must stay true: a cursor is moved by hand only from where it was seen, with a new epoch that fences whoever has the
//! shard, and a row that says so for ever.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{Connection, Row};

use super::{Cursor, Error, Log};
use crate::config::Secret;
use crate::domain::{Epoch, Seq, ShardId};

/// Stands as the owner of a shard whose events are published anew.
pub const REPUBLISHER: &str = "republish";

/// What a shard's row says of the bus.
#[derive(Clone, Debug)]
pub struct StoredCursor {
    pub shard: ShardId,
    pub cursor: Cursor,
    pub published: Seq,
}

/// A cursor that is to be moved. Of events it is the place up to which they are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorReset {
    pub shard: ShardId,
    /// commands, reports or events.
    pub topic: &'static str,
    pub bus: String,
    pub from: i64,
    pub to: i64,
}

const STORED: &str = "SELECT shard, bus, command_cursor, report_cursor, published_seq FROM shards";

fn read(row: &PgRow) -> Result<StoredCursor, sqlx::Error> {
    Ok(StoredCursor {
        shard: ShardId(row.try_get::<i16, _>(0)? as u16),
        cursor: Cursor {
            bus: Arc::from(row.try_get::<&str, _>(1)?),
            commands: row.try_get(2)?,
            reports: row.try_get(3)?,
        },
        published: Seq(row.try_get::<i64, _>(4)? as u64),
    })
}

impl Log {
    /// The cursor of a shard, without claiming it.
    pub async fn stored_cursor(&self, shard: ShardId) -> Result<StoredCursor, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let one = sqlx::query(sqlx::AssertSqlSafe(format!("{STORED} WHERE shard = $1"))).bind(shard.0 as i16);
            let row = one.fetch_optional(&pool).await?;
            Ok(read(&row.ok_or(Error::UnknownShard(shard))?)?)
        };
        self.run("log.stored_cursor", unit).await
    }
}

/// A shard whose events somebody publishes anew, beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Fences the owner: its next commit is refused, and it goes on from the cursor that it finds then.
    pub epoch: Epoch,
    pub next_seq: Seq,
}

impl Log {
    /// Takes a shard from its owner to publish its events after `from`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim_publication(&self, shard: ShardId, from: Seq) -> Result<Publication, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let claim =
                "UPDATE shards SET epoch = epoch + 1, owner = $2, claimed_at = clock_timestamp(), published_seq = $3
                         WHERE shard = $1 RETURNING epoch, next_seq";
            let row = sqlx::query(claim)
                .bind(shard.0 as i16)
                .bind(REPUBLISHER)
                .bind(from.0 as i64)
                .fetch_optional(&pool)
                .await?;
            let row = row.ok_or(Error::UnknownShard(shard))?;
            Ok(Publication {
                epoch: Epoch(row.try_get::<i64, _>(0)? as u64),
                next_seq: Seq(row.try_get::<i64, _>(1)? as u64),
            })
        };
        self.run("log.claim_publication", unit).await
    }

    /// Remembers up to where the shard's events are published. False: the shard has an owner again, who goes on from what
    /// was remembered last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn published(&self, shard: ShardId, epoch: Epoch, upto: Seq) -> Result<bool, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let moved = sqlx::query("UPDATE shards SET published_seq = $3 WHERE shard = $1 AND epoch = $2")
                .bind(shard.0 as i16)
                .bind(epoch.0 as i64)
                .bind(upto.0 as i64)
                .execute(&pool)
                .await?;
            Ok(moved.rows_affected() == 1)
        };
        self.run("log.published", unit).await
    }
}

/// The cursors of all shards.
///
/// # Errors
/// When the database does not answer.
pub async fn stored_cursors(owner_url: &Secret) -> Result<Vec<StoredCursor>, Error> {
    let mut connection = connect(owner_url).await?;
    let all = format!("{STORED} ORDER BY shard");
    let rows = sqlx::query(sqlx::AssertSqlSafe(all)).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Moves a cursor and records it. What stands in quarantine under the lost offsets is kept, but bars no new message.
/// False: the cursor stands elsewhere by now, and nothing was done.
///
/// # Errors
/// When the database refuses; then nothing was done.
pub async fn reset_cursor(owner_url: &Secret, reset: &CursorReset) -> Result<bool, Error> {
    let mut connection = connect(owner_url).await?;
    let column = match reset.topic {
        "commands" => "command_cursor",
        "reports" => "report_cursor",
        _ => "published_seq",
    };
    let statement = format!(
        "WITH moved AS (
             UPDATE shards SET {column} = $4, epoch = epoch + 1
             WHERE shard = $1 AND bus = $2 AND {column} = $3 RETURNING epoch
         ), freed AS (
             UPDATE quarantine SET bus = bus || ', lost before epoch ' || moved.epoch FROM moved
             WHERE shard = $1 AND bus = $2 AND source || 's' = $5 AND place >= $4
         )
         INSERT INTO cursor_resets (shard, topic, bus, from_cursor, to_cursor, epoch)
         SELECT $1, $5, $2, $3, $4, epoch FROM moved RETURNING id"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(reset.shard.0 as i16)
        .bind(&reset.bus)
        .bind(reset.from)
        .bind(reset.to)
        .bind(reset.topic);
    let recorded = query.fetch_optional(&mut connection).await?;
    connection.close().await?;
    Ok(recorded.is_some())
}

async fn connect(owner_url: &Secret) -> Result<sqlx::PgConnection, Error> {
    let mut connection = super::migrate::connect_as_owner(owner_url).await?;
    super::migrate::become_owner(&mut connection).await?;
    Ok(connection)
}
