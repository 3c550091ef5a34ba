//! What the owner of the tables does for retention: ask for days to be closed, see that they are, drop them.
//!
//! Must stay true: a day is dropped only by `grid_retire_day`, which checks anew what is checked here, and only when it
//! holds as many events as were archived; a lock on the table of events is never waited for longer than commits can wait.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use uuid::Uuid;

use super::migrate::PATIENCE;
use super::reach::{connected, options_of};
use super::{Error, Holders, Log};
use crate::config::Secret;
use crate::domain::{JobId, ShardId};

/// Held by whoever archives, or makes the read models anew; the lock of `grid_make_day` is (7236837, 1).
pub const ONE_AT_A_TIME: &str = "SELECT pg_try_advisory_lock(7236837, 2)";
/// How long commits may wait behind somebody who waits for the table of events.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";
/// Tries to get that lock, and what is between them.
const MOST_TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// The owner's connection. One process at a time has it.
pub struct Retention {
    connection: PgConnection,
    /// Processes that serve shards were connected when it began.
    served: bool,
}

/// How far a closing is.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Shards that have not closed the days.
    pub open: Vec<ShardId>,
    /// Of these, what those say that cannot.
    pub held: Vec<(ShardId, Holders)>,
}

impl Retention {
    /// # Errors
    /// When somebody else archives, or the database does not answer.
    pub async fn begin(owner_url: &Secret) -> Result<Self, Error> {
        let options = options_of(owner_url)?
            .application_name("grid archive")
            .options([("statement_timeout", "0")]);
        let mut connection = connected(&options, PATIENCE).await?;
        super::migrate::become_owner(&mut connection).await?;
        if !sqlx::query_scalar::<_, bool>(ONE_AT_A_TIME)
            .fetch_one(&mut connection)
            .await?
        {
            return Err(Error::Unsafe(
                "another `grid archive`, or a `grid rebuild`, is at work".to_owned(),
            ));
        }
        // Listening for closings is what processes with shards do.
        let served = "SELECT EXISTS (SELECT FROM pg_stat_activity
                      WHERE datname = current_database() AND application_name = 'grid closing')";
        let served = sqlx::query_scalar(served).fetch_one(&mut connection).await?;
        Ok(Self { connection, served })
    }

    /// For what goes with the days.
    pub const fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Whether there are processes that serve shards.
    pub const fn is_served(&self) -> bool {
        self.served
    }

    /// The day that it is (since 1970), by the database's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn today(&mut self) -> Result<i32, Error> {
        let today = "SELECT (now() AT TIME ZONE 'UTC')::date - date '1970-01-01'";
        Ok(sqlx::query_scalar(today).fetch_one(&mut self.connection).await?)
    }

    /// Asks all shards to close the days before this one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask(&mut self, before: i32) -> Result<(), Error> {
        sqlx::query("DELETE FROM closing_holders")
            .execute(&mut self.connection)
            .await?;
        self.remind(before).await
    }

    /// Asks again: shards that have closed the days write down how far they are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn remind(&mut self, before: i32) -> Result<(), Error> {
        sqlx::query("UPDATE log_meta SET close_before = greatest(close_before, $1)")
            .bind(before)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn standing(&mut self, before: i32) -> Result<Standing, Error> {
        let open = "SELECT s.shard, h.jobs, h.jobs_total FROM shards s
                    LEFT JOIN closing_holders h ON h.shard = s.shard AND h.close_before >= $1
                    WHERE s.closed_before < $1 ORDER BY s.shard";
        let mut standing = Standing::default();
        for row in sqlx::query(open).bind(before).fetch_all(&mut self.connection).await? {
            let shard = ShardId(row.try_get::<i16, _>(0)? as u16);
            standing.open.push(shard);
            if let Some(jobs) = row.try_get::<Option<Vec<Uuid>>, _>(1)? {
                let holders = Holders {
                    close_before: before,
                    first: jobs.into_iter().map(JobId).collect(),
                    total: row.try_get::<i64, _>(2)?.unsigned_abs(),
                };
                standing.held.push((shard, holders));
            }
        }
        Ok(standing)
    }

    /// Days before this one whose events are there, rising.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn days(&mut self, before: i32) -> Result<Vec<i32>, Error> {
        let days = "SELECT day FROM (
                        SELECT to_date(substr(c.relname, 8), 'YYYYMMDD') - date '1970-01-01' AS day
                        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_[0-9]{8}$') d
                    WHERE day < $1 ORDER BY day";
        Ok(sqlx::query_scalar(days)
            .bind(before)
            .fetch_all(&mut self.connection)
            .await?)
    }

    /// Who does not have all of a day yet, and must before it is dropped; empty: nobody.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn behind(&mut self, day: i32) -> Result<Vec<String>, Error> {
        let behind = "SELECT s.shard, l.seq > s.snapshot_seq, l.seq > s.published_seq AND s.bus NOT LIKE 'local-%',
                          l.seq > COALESCE(c.seq, 0)
                      FROM shards s
                      CROSS JOIN LATERAL (SELECT max(e.seq) AS seq FROM events e WHERE e.day = $1 AND e.shard = s.shard) l
                      LEFT JOIN grid_read.projection_cursors c ON c.shard = s.shard
                      WHERE l.seq IS NOT NULL ORDER BY s.shard";
        let mut told = Vec::new();
        for row in sqlx::query(behind).bind(day).fetch_all(&mut self.connection).await? {
            let shard = ShardId(row.try_get::<i16, _>(0)? as u16);
            for (column, who) in [(1, "the snapshots"), (2, "the publisher"), (3, "the read models")] {
                if row.try_get::<bool, _>(column)? {
                    told.push(format!("{who} of {shard}"));
                }
            }
        }
        Ok(told)
    }

    /// Jobs of a day that a load would find unfinished: those that cannot be read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unfinished(&mut self, day: i32) -> Result<Vec<JobId>, Error> {
        let jobs = "SELECT job FROM snapshots
                    WHERE NOT at_rest AND job >= grid_first_id($1) AND job < grid_first_id($1 + 1) ORDER BY job LIMIT 6";
        let jobs: Vec<Uuid> = sqlx::query_scalar(jobs)
            .bind(day)
            .fetch_all(&mut self.connection)
            .await?;
        Ok(jobs.into_iter().map(JobId).collect())
    }

    /// Drops a day that holds so many events, and records that.
    ///
    /// # Errors
    /// When it holds another number, or may not be dropped; then it is as it was.
    pub async fn retire(&mut self, day: i32, events: u64) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.try_to_retire(day, events).await {
                Err(Error::Database(sqlx::Error::Database(error)))
                    if matches!(error.code().as_deref(), Some("55P03" | "40P01")) && tries < MOST_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn try_to_retire(&mut self, day: i32, events: u64) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await?;
        transaction.execute(LOCK_TIMEOUT).await?;
        let dropped: i64 = sqlx::query_scalar("SELECT grid_retire_day($1)")
            .bind(day)
            .fetch_one(&mut *transaction)
            .await?;
        if dropped.unsigned_abs() != events {
            transaction.rollback().await?;
            let date = super::archive::date(day);
            let text = format!("{date} holds {dropped} events, and {events} were archived; it is not dropped");
            return Err(Error::Unsafe(text));
        }
        Ok(transaction.commit().await?)
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn end(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }
}

impl Log {
    /// Days that were dropped, with the numbers of their events, rising.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retired_days(&self) -> Result<Vec<(i32, u64)>, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let rows = sqlx::query("SELECT day, events FROM retired_days ORDER BY day")
                .fetch_all(&pool)
                .await?;
            let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs()));
            rows.iter().map(read).collect()
        };
        self.run("log.retired_days", unit).await
    }
}
