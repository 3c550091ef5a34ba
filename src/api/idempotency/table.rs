//! The table of reserved keys.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::IdempotencyKey;
use crate::api::problem::Problem;
use crate::domain::{JobId, Position, Seq, ShardId, Timestamp};
use crate::log::{Error, Log};

/// Rows that one statement of the sweep takes away, so that it never holds many locks nor writes much at once.
const SWEPT_AT_ONCE: i64 = 500;

/// Whose key.
pub(super) struct Owner {
    pub principal: Arc<str>,
    pub key: IdempotencyKey,
}

/// A row.
pub(super) struct Reservation {
    pub call: [u8; 32],
    pub job: JobId,
    pub command: Uuid,
    pub not_after: Timestamp,
    pub answered: Option<Position>,
}

/// The reserved keys of everybody. Cheap to clone.
#[derive(Clone)]
pub struct Reservations {
    log: Log,
    keep: Duration,
}

impl Reservations {
    pub fn new(log: Log, keep: Duration) -> Self {
        Self { log, keep }
    }

    /// `None`: the key is free.
    pub(super) async fn find(&self, owner: &Owner) -> Result<Option<Reservation>, Problem> {
        let sql = "SELECT call, job, command, not_after, answered_shard, answered_seq FROM idempotency_keys
                   WHERE principal = $1 AND key = $2 AND reserved_at >= now() - make_interval(secs => $3)";
        let row = sqlx::query(sql)
            .bind(&*owner.principal)
            .bind(owner.key.as_str())
            .bind(self.keep.as_secs_f64())
            .fetch_optional(self.log.pool())
            .await;
        let read = row.and_then(|row| row.as_ref().map(read).transpose());
        read.map_err(|error| Problem::database(&error))
    }

    /// Takes the key for a command that is about to be sent; `before`: until when its last sending was wanted. `false`:
    /// somebody else has taken it meanwhile. On the disk when it returns.
    pub(super) async fn reserve(
        &self,
        owner: &Owner,
        reservation: &Reservation,
        before: Option<Timestamp>,
    ) -> Result<bool, Problem> {
        let sql = "INSERT INTO idempotency_keys AS k (principal, key, call, job, command, not_after)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (principal, key) DO UPDATE
                   SET call = excluded.call, job = excluded.job, command = excluded.command,
                       not_after = excluded.not_after, answered_shard = NULL, answered_seq = NULL,
                       reserved_at = CASE WHEN k.command = excluded.command THEN k.reserved_at ELSE now() END
                   WHERE k.reserved_at < now() - make_interval(secs => $7)
                       OR k.command = excluded.command AND k.not_after = $8";
        let query = sqlx::query(sql)
            .bind(owner.principal.to_string())
            .bind(owner.key.as_str().to_owned())
            .bind(reservation.call.to_vec())
            .bind(reservation.job.0)
            .bind(reservation.command)
            .bind(reservation.not_after.as_ms())
            .bind(self.keep.as_secs_f64())
            .bind(before.map(Timestamp::as_ms));
        let pool = self.log.pool().clone();
        let unit = async move { Ok(query.execute(&pool).await?.rows_affected()) };
        let taken = self.log.run("api.reserve_key", unit).await;
        taken.map(|rows| rows == 1).map_err(|error| Problem::database(&error))
    }

    /// Notes where the answer stands. Not flushed, and not missed when it fails: the log has it too.
    pub(super) async fn answered(&self, owner: &Owner, command: Uuid, position: Position) {
        let sql = "WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))
                   UPDATE idempotency_keys SET answered_shard = $4, answered_seq = $5 FROM quick
                   WHERE principal = $1 AND key = $2 AND command = $3";
        let query = sqlx::query(sql)
            .bind(owner.principal.to_string())
            .bind(owner.key.as_str().to_owned())
            .bind(command)
            .bind(position.shard.0 as i16)
            .bind(position.seq.0 as i64);
        self.tend("api.note_answer", query).await;
    }

    /// Frees the key: its command has no effect. When that fails, the key is free as soon as the command has expired.
    pub(super) async fn release(&self, owner: &Owner, command: Uuid) {
        let query = sqlx::query("DELETE FROM idempotency_keys WHERE principal = $1 AND key = $2 AND command = $3")
            .bind(owner.principal.to_string())
            .bind(owner.key.as_str().to_owned())
            .bind(command);
        self.tend("api.release_key", query).await;
    }

    async fn tend(
        &self,
        name: &'static str,
        query: sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) {
        let pool = self.log.pool().clone();
        let unit = async move { Ok(query.execute(&pool).await.map(drop)?) };
        if let Err(error) = self.log.run(name, unit).await {
            tracing::warn!(%error, name, "api.idempotency.not_noted");
        }
    }

    /// Takes away the keys that have had their time, some at once, until none is left. Returns how many.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let mut swept = 0;
        loop {
            let (pool, keep) = (self.log.pool().clone(), self.keep.as_secs_f64());
            let unit = async move {
                // What another process sweeps at the moment is left to it.
                let sql = "DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
                               SELECT ctid FROM idempotency_keys WHERE reserved_at < now() - make_interval(secs => $1)
                               ORDER BY reserved_at LIMIT $2 FOR UPDATE SKIP LOCKED))";
                let query = sqlx::query(sql).bind(keep).bind(SWEPT_AT_ONCE);
                Ok(query.execute(&pool).await?.rows_affected())
            };
            let step = self.log.run("api.sweep_keys", unit).await?;
            swept += step;
            if step < SWEPT_AT_ONCE.unsigned_abs() {
                return Ok(swept);
            }
        }
    }

    /// Sweeps every `interval`, for ever.
    pub async fn keep_swept(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.sweep().await {
                Ok(0) => {}
                Ok(keys) => {
                    metrics::counter!("grid_api_idempotency_keys_swept_total").increment(keys);
                    tracing::debug!(keys, "api.idempotency.swept");
                }
                Err(error) => tracing::warn!(%error, "api.idempotency.not_swept"),
            }
        }
    }
}

fn read(row: &PgRow) -> Result<Reservation, sqlx::Error> {
    let call: &[u8] = row.try_get(0)?;
    let answered: Option<(i16, i64)> = row.try_get::<Option<i16>, _>(4)?.zip(row.try_get(5)?);
    Ok(Reservation {
        call: call.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        job: JobId(row.try_get(1)?),
        command: row.try_get(2)?,
        not_after: Timestamp::from_ms(row.try_get(3)?),
        answered: answered.map(|(shard, seq)| Position {
            shard: ShardId(shard as u16),
            seq: Seq(seq as u64),
        }),
    })
}
