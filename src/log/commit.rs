//! The one statement of a commit, and what its end means.
//!
//! Must stay true: one autocommit statement writes everything of a commit, checked against epoch and place of each
//! shard; a stale shard loses only its own rows; a statement is never cancelled midway from here.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgBindIterExt, PgConnectOptions, PgConnection};

use super::batch::CommitOutcome;
use super::gather::Chained;
use super::reach::told;
use crate::domain::ShardId;

const COMMIT: &str = "
WITH b AS (
    SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[], $7::bytea[],
                         $8::text[], $9::int8[], $10::int8[], $11::int8[], $12::int4[], $13::int8[])
        AS b(shard, epoch, first_seq, next_seq, prev_hash, hash, parts, bus, commands, reports, published, closed, at)
), ok AS (
    UPDATE shards s
    SET next_seq = b.next_seq, last_hash = b.hash, last_at = greatest(s.last_at, b.at), bus = b.bus,
        command_cursor = b.commands, report_cursor = b.reports,
        published_seq = CASE WHEN s.bus = b.bus THEN greatest(s.published_seq, b.published) ELSE b.published END,
        closed_before = greatest(s.closed_before, b.closed)
    FROM b
    WHERE s.shard = b.shard AND s.epoch = b.epoch AND s.next_seq = b.first_seq AND s.last_hash = b.prev_hash
    RETURNING s.shard
), ins AS (
    INSERT INTO events (day, job, task, version, shard, worker, seq, payload)
    SELECT e.day, e.job, e.task, e.version, e.shard, e.worker, e.seq, e.payload
    FROM unnest($14::int4[], $15::uuid[], $16::int4[], $17::int4[], $18::int2[], $19::bool[], $20::int8[],
                $21::bytea[]) AS e(day, job, task, version, shard, worker, seq, payload)
    JOIN ok USING (shard)
), bat AS (
    INSERT INTO batches (shard, first_seq, last_seq, prev_hash, hash, parts, days)
    SELECT b.shard, b.first_seq, b.next_seq - 1, b.prev_hash, b.hash, b.parts,
           (SELECT array_agg(d.day ORDER BY d.day)
            FROM unnest($22::int2[], $23::int4[]) AS d(shard, day) WHERE d.shard = b.shard)
    FROM b JOIN ok USING (shard)
    WHERE b.next_seq > b.first_seq
)
SELECT shard FROM ok";

/// Writes commits over a connection of its own.
pub(super) struct Writer {
    options: PgConnectOptions,
    connect_timeout: Duration,
    /// After this the outcome counts as unknown: later than Postgres' own limit.
    deadline: Duration,
    connection: Option<PgConnection>,
}

/// Why a statement failed, as far as it matters.
enum Failed {
    /// It would fail again, nothing was written.
    Refused(String),
    /// Likewise, unless the partition of its day can be made.
    NoPartition(String),
    Unknown(String),
}

impl Writer {
    pub fn new(options: PgConnectOptions, connect_timeout: Duration, statement_timeout: Duration) -> Self {
        Self {
            options,
            connect_timeout,
            deadline: statement_timeout + Duration::from_secs(5),
            connection: None,
        }
    }

    /// What became of each, in their order.
    pub async fn commit<T: Sync>(&mut self, statement: &[Chained<T>]) -> Vec<CommitOutcome> {
        let mut result = self.execute(statement).await;
        if matches!(result, Err(Failed::NoPartition(_))) && self.make_days().await {
            result = self.execute(statement).await;
        }
        match result {
            Ok(shards) => statement.iter().map(|chained| outcome(chained, &shards)).collect(),
            // One of them is to blame; only that one shall suffer.
            Err(Failed::Refused(_) | Failed::NoPartition(_)) if statement.len() > 1 => {
                let mut outcomes = Vec::with_capacity(statement.len());
                for chained in statement {
                    let alone = self.execute(std::slice::from_ref(chained)).await;
                    outcomes.push(alone.map_or_else(CommitOutcome::from, |shards| outcome(chained, &shards)));
                }
                outcomes
            }
            Err(failed) => {
                let outcome = CommitOutcome::from(failed);
                statement.iter().map(|_| outcome.clone()).collect()
            }
        }
    }

    async fn execute<T>(&mut self, statement: &[Chained<T>]) -> Result<HashSet<ShardId>, Failed> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let query = bind(sqlx::query_scalar(COMMIT), statement);
        // Past the deadline the connection is dropped, which closes it; the outcome stays unknown.
        match tokio::time::timeout(self.deadline, query.fetch_all(&mut connection)).await {
            Ok(Ok(shards)) => {
                self.connection = Some(connection);
                Ok(shards.into_iter().map(|shard: i16| ShardId(shard as u16)).collect())
            }
            Ok(Err(error)) => {
                let failed = classify(&error);
                // An answer of the server leaves the connection usable; anything else does not.
                if matches!(error, sqlx::Error::Database(_)) {
                    self.connection = Some(connection);
                }
                Err(failed)
            }
            Err(_) => Err(Failed::Unknown(format!("no answer within {:?}", self.deadline))),
        }
    }

    /// Whether any day was missing: whoever makes them ahead has not come to it.
    async fn make_days(&mut self) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let made: Result<i32, _> = sqlx::query_scalar("SELECT grid_make_days()")
            .fetch_one(connection)
            .await;
        match made {
            Ok(days) => days > 0,
            Err(error) => {
                tracing::error!(error = %error, "journal.partitions_not_made");
                self.connection = None;
                false
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, Failed> {
        match tokio::time::timeout(self.connect_timeout, self.options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Failed::Unknown(format!("cannot connect: {error}"))),
            Err(_) => Err(Failed::Unknown(format!(
                "cannot connect within {:?}",
                self.connect_timeout
            ))),
        }
    }
}

type Query<'a> = sqlx::query::QueryScalar<'a, sqlx::Postgres, i16, sqlx::postgres::PgArguments>;

fn bind<'a, T>(query: Query<'a>, statement: &'a [Chained<T>]) -> Query<'a> {
    let batches = || statement.iter().map(|chained| (chained, &chained.encoded.batch));
    let events = || {
        statement.iter().flat_map(|chained| {
            let batch = &chained.encoded.batch;
            let keyed = batch
                .events
                .iter()
                .zip(&*chained.encoded.payloads)
                .zip(batch.first_seq.0..);
            keyed.map(|((event, payload), seq)| (batch.shard, event, payload, seq))
        })
    };
    let days = || {
        statement.iter().flat_map(|chained| {
            chained
                .encoded
                .parts
                .iter()
                .map(|part| (chained.encoded.batch.shard, part.day))
        })
    };
    query
        .bind(batches().map(|(_, batch)| batch.shard.0 as i16).bind_iter())
        .bind(batches().map(|(_, batch)| batch.epoch.0 as i64).bind_iter())
        .bind(batches().map(|(_, batch)| batch.first_seq.0 as i64).bind_iter())
        .bind(
            batches()
                .map(|(chained, _)| chained.encoded.next_seq().0 as i64)
                .bind_iter(),
        )
        .bind(batches().map(|(chained, _)| chained.previous.0).bind_iter())
        .bind(batches().map(|(chained, _)| chained.hash.0).bind_iter())
        .bind(
            batches()
                .map(|(chained, _)| chained.encoded.parts_bytes.as_slice())
                .bind_iter(),
        )
        .bind(batches().map(|(_, batch)| &*batch.cursor.bus).bind_iter())
        .bind(batches().map(|(_, batch)| batch.cursor.commands).bind_iter())
        .bind(batches().map(|(_, batch)| batch.cursor.reports).bind_iter())
        .bind(batches().map(|(_, batch)| batch.published.0 as i64).bind_iter())
        .bind(batches().map(|(_, batch)| batch.closed_before).bind_iter())
        .bind(
            batches()
                .map(|(_, batch)| batch.events.last().map_or(0, |event| event.meta.at.as_ms()))
                .bind_iter(),
        )
        .bind(events().map(|(_, event, ..)| event.day()).bind_iter())
        .bind(events().map(|(_, event, ..)| event.stream.columns().0).bind_iter())
        .bind(
            events()
                .map(|(_, event, ..)| event.stream.columns().1 as i32)
                .bind_iter(),
        )
        .bind(events().map(|(_, event, ..)| event.version as i32).bind_iter())
        .bind(events().map(|(shard, ..)| shard.0 as i16).bind_iter())
        .bind(events().map(|(_, event, ..)| event.stream.is_worker()).bind_iter())
        .bind(events().map(|(.., seq)| seq as i64).bind_iter())
        .bind(events().map(|(_, _, payload, _)| &**payload).bind_iter())
        .bind(days().map(|(shard, _)| shard.0 as i16).bind_iter())
        .bind(days().map(|(_, day)| day).bind_iter())
}

fn outcome<T>(chained: &Chained<T>, shards: &HashSet<ShardId>) -> CommitOutcome {
    if shards.contains(&chained.encoded.batch.shard) {
        CommitOutcome::Committed(chained.encoded.committed())
    } else {
        CommitOutcome::Fenced
    }
}

impl From<Failed> for CommitOutcome {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(why) | Failed::NoPartition(why) => Self::Refused(why),
            Failed::Unknown(why) => Self::Unknown(why),
        }
    }
}

/// By SQLSTATE class (https://www.postgresql.org/docs/current/errcodes-appendix.html): what is wrong with the data, a
/// constraint, or too large will be wrong again. All else says nothing about the batch (the connection, a lock, a right
/// that is missing): it may go well the next time.
fn classify(error: &sqlx::Error) -> Failed {
    match error {
        sqlx::Error::Database(database) => {
            let message = told(error);
            let class = database
                .code()
                .map(|code| code.chars().take(2).collect::<String>())
                .unwrap_or_default();
            match class.as_str() {
                "23" if database.constraint().is_none() && message.contains("no partition") => {
                    Failed::NoPartition(message)
                }
                "22" | "23" | "54" | "P0" => Failed::Refused(message),
                _ => Failed::Unknown(message),
            }
        }
        // The values could not be written as the database's types: nothing was sent.
        sqlx::Error::Encode(_) => Failed::Refused(error.to_string()),
        other => Failed::Unknown(other.to_string()),
    }
}
