//! Closing days of the log: who asks for it, and what shards answer.
//!
//! Must stay true: a wish is only ever raised, by who owns the tables; that a day is closed stands in the shard's own
//! row, by its own commit, and nowhere else.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::{Error, Log};
use crate::domain::{JobId, ShardId};

/// Told with the wish, by the trigger of `log_meta`.
const CHANNEL: &str = "grid_closing";
/// The wish is read anew after so long without a word, in case one was lost.
const READ_EVERY: Duration = Duration::from_secs(300);
/// Before another try after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Jobs that keep a shard from closing days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    /// The days before this one are to be closed.
    pub close_before: i32,
    /// The first of them by id.
    pub first: Vec<JobId>,
    pub total: u64,
}

impl Log {
    /// Says what keeps a shard from closing days.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tell_holders(&self, shard: ShardId, holders: Holders) -> Result<(), Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let first: Vec<Uuid> = holders.first.iter().map(|job| job.0).collect();
            let tell = "INSERT INTO closing_holders (shard, close_before, jobs, jobs_total) VALUES ($1, $2, $3, $4)
                        ON CONFLICT (shard) DO UPDATE SET close_before = excluded.close_before, jobs = excluded.jobs,
                            jobs_total = excluded.jobs_total, told_at = now()";
            sqlx::query(tell)
                .bind(shard.0 as i16)
                .bind(holders.close_before)
                .bind(first)
                .bind(i64::try_from(holders.total).unwrap_or(i64::MAX))
                .execute(&pool)
                .await?;
            Ok(())
        };
        self.run("log.tell_holders", unit).await
    }

    /// Tells of every wish to close days: the one that stands, and each that comes. Goes on until it is dropped.
    pub async fn follow_closing(&self, mut wish: impl FnMut(i32) + Send) {
        loop {
            if let Err(error) = self.hear_closing(&mut wish).await {
                tracing::warn!(%error, "log.closing_not_heard");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hear_closing(&self, wish: &mut (impl FnMut(i32) + Send)) -> Result<(), sqlx::Error> {
        let options = self.inner.pool.connect_options().as_ref().clone();
        // A connection of its own: it is held for as long as the process runs.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.inner.options.connect_timeout)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options.application_name("grid closing"));
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        let mut told = 0;
        loop {
            // What is read anew, not told, is nothing new as a rule.
            let standing = close_before(&self.inner.pool).await?;
            if standing > told {
                told = standing;
                wish(standing);
            }
            while let Ok(word) = tokio::time::timeout(READ_EVERY, listener.try_recv()).await {
                let word = word?.ok_or(sqlx::Error::WorkerCrashed)?;
                if let Ok(before) = word.payload().parse() {
                    told = told.max(before);
                    wish(before);
                }
            }
        }
    }
}

async fn close_before(pool: &PgPool) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT close_before FROM log_meta")
        .fetch_one(pool)
        .await
}
