//! Messages and events that cannot be taken in: counted durably by their place, and after enough tries passed over.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Cursor, Error, Log};
use crate::domain::{ShardId, Timestamp};

/// Where a poisoned item came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuarantineSource {
    Command,
    Report,
    Event,
}

impl QuarantineSource {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Report => "report",
            Self::Event => "event",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "command" => Self::Command,
            "report" => Self::Report,
            _ => Self::Event,
        }
    }
}

/// One failure of one item.
#[derive(Clone, Debug)]
pub struct Poison {
    pub shard: ShardId,
    pub source: QuarantineSource,
    /// Which bus `place` belongs to; empty for an event.
    pub bus: String,
    /// Offset of the message, or `seq` of the event.
    pub place: i64,
    pub reason: String,
    pub payload: Vec<u8>,
    pub principal: String,
}

/// Bytes of a message that are kept.
const MOST_PAYLOAD_BYTES: usize = 256 * 1024;
const MOST_REASON_CHARS: usize = 4_096;

/// As Postgres takes text: it has no NUL.
fn as_text(text: &str) -> String {
    text.chars()
        .take(MOST_REASON_CHARS)
        .map(|char| if char == '\0' { '\u{fffd}' } else { char })
        .collect()
}

/// An item in quarantine.
#[derive(Clone, Debug)]
pub struct Quarantined {
    pub poison: Poison,
    pub attempts: u32,
    pub first_at: Timestamp,
    pub quarantined_at: Timestamp,
}

impl Log {
    /// Counts a failure; from the `most`-th on the item is in quarantine. Returns how often it has failed.
    pub async fn note_failure(&self, poison: Poison, most: u32) -> Result<u32, Error> {
        let pool = self.inner.pool.clone();
        let (reason, principal) = (as_text(&poison.reason), as_text(&poison.principal));
        let payload = poison.payload[..poison.payload.len().min(MOST_PAYLOAD_BYTES)].to_vec();
        let unit = async move {
            let attempts: i32 = sqlx::query_scalar(
                "INSERT INTO quarantine AS q (shard, source, bus, place, attempts, reason, payload, principal, quarantined_at)
                 VALUES ($1, $2, $3, $4, 1, $5, $6, $7, CASE WHEN $8 <= 1 THEN now() END)
                 ON CONFLICT (shard, source, bus, place) DO UPDATE
                 SET attempts = q.attempts + 1, reason = excluded.reason, last_at = now(),
                     quarantined_at = coalesce(q.quarantined_at, CASE WHEN q.attempts + 1 >= $8 THEN now() END)
                 RETURNING attempts",
            )
            .bind(poison.shard.0 as i16)
            .bind(poison.source.name())
            .bind(&poison.bus)
            .bind(poison.place)
            .bind(&reason)
            .bind(payload)
            .bind(principal)
            .bind(most as i32)
            .fetch_one(&pool)
            .await?;
            let attempts = attempts.unsigned_abs();
            tracing::error!(
                shard = poison.shard.0,
                source = poison.source.name(),
                place = poison.place,
                attempts,
                reason,
                "log.poisoned"
            );
            if attempts == most.max(1) {
                metrics::counter!("grid_quarantined_total", "source" => poison.source.name()).increment(1);
            }
            Ok(attempts)
        };
        self.run("log.note_failure", unit).await
    }

    /// A shard's messages in quarantine at or after the cursor, on the cursor's bus: these are passed over.
    pub async fn quarantined_places(
        &self,
        shard: ShardId,
        cursor: &Cursor,
    ) -> Result<Vec<(QuarantineSource, i64)>, Error> {
        let (pool, cursor) = (self.inner.pool.clone(), cursor.clone());
        let unit = async move {
            let places = "SELECT source, place FROM quarantine
                          WHERE shard = $1 AND bus = $2 AND quarantined_at IS NOT NULL
                          AND (source = 'command' AND place >= $3 OR source = 'report' AND place >= $4)
                          ORDER BY source, place";
            let query = sqlx::query(places).bind(shard.0 as i16).bind(&*cursor.bus);
            let rows = query
                .bind(cursor.commands)
                .bind(cursor.reports)
                .fetch_all(&pool)
                .await?;
            let place = |row: &PgRow| Ok((QuarantineSource::of(row.try_get(0)?), row.try_get(1)?));
            Ok(rows.iter().map(place).collect::<Result<_, sqlx::Error>>()?)
        };
        self.run("log.quarantined_places", unit).await
    }

    /// How much is in quarantine.
    pub async fn quarantine_count(&self) -> Result<u64, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let count = "SELECT count(*) FROM quarantine WHERE quarantined_at IS NOT NULL";
            Ok(sqlx::query_scalar::<_, i64>(count)
                .fetch_one(&pool)
                .await?
                .unsigned_abs())
        };
        self.run("log.quarantine_count", unit).await
    }

    /// What is in quarantine, newest first.
    pub async fn quarantine(&self, offset: u64, limit: usize) -> Result<Vec<Quarantined>, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let list = "SELECT shard, source, bus, place, reason, payload, principal, attempts,
                            (extract(epoch FROM first_at) * 1000)::int8, (extract(epoch FROM quarantined_at) * 1000)::int8
                        FROM quarantine WHERE quarantined_at IS NOT NULL
                        ORDER BY quarantined_at DESC, shard, place OFFSET $1 LIMIT $2";
            let rows = sqlx::query(list)
                .bind(offset as i64)
                .bind(limit as i64)
                .fetch_all(&pool)
                .await?;
            Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
        };
        self.run("log.quarantine", unit).await
    }
}

fn read(row: &PgRow) -> Result<Quarantined, sqlx::Error> {
    Ok(Quarantined {
        poison: Poison {
            shard: ShardId(row.try_get::<i16, _>(0)? as u16),
            source: QuarantineSource::of(row.try_get(1)?),
            bus: row.try_get(2)?,
            place: row.try_get(3)?,
            reason: row.try_get(4)?,
            payload: row.try_get(5)?,
            principal: row.try_get(6)?,
        },
        attempts: row.try_get::<i32, _>(7)?.unsigned_abs(),
        first_at: Timestamp::from_ms(row.try_get(8)?),
        quarantined_at: Timestamp::from_ms(row.try_get(9)?),
    })
}
