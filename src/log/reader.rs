//! Reading events back: of a shard in order, of one stream, of one job.
//!
//! Must stay true: rows come as they are, payload untouched; a read looks only into the partitions that it needs.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use super::chain::Hash;
use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::{Epoch, JobId, Position, Seq, ShardId, StreamId};

/// Some of a shard's events, in order.
#[derive(Clone, Debug)]
pub struct ShardPage {
    pub events: Vec<StoredEvent>,
    /// Everything up to here is in the page (or in a day that was dropped). Go on from here; when it is where the page
    /// began, that was the head.
    pub through: Seq,
}

/// Some of a stream's or a job's events.
#[derive(Clone, Debug)]
pub struct StreamPage {
    pub events: Vec<StoredEvent>,
    /// There may be more behind the last one.
    pub more: bool,
}

/// Where a shard stands.
#[derive(Clone, Debug)]
pub struct Head {
    pub shard: ShardId,
    pub epoch: Epoch,
    pub next_seq: Seq,
    pub last_hash: Hash,
    pub published: Seq,
    pub snapshot_seq: Seq,
    pub closed_before: i32,
    pub owner: String,
}

impl Log {
    /// Up to `limit` events of a shard after `after`, in order.
    pub async fn events_after(&self, shard: ShardId, after: Seq, limit: usize) -> Result<ShardPage, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move { Ok(shard_page(&pool, shard, after, Seq(i64::MAX as u64), limit).await?) };
        self.run("log.events_after", unit).await
    }

    /// Up to `limit` events of one stream after version `after`, in order.
    pub async fn stream(&self, stream: StreamId, after: u32, limit: usize) -> Result<StreamPage, Error> {
        let (id, task) = stream.columns();
        let (first_day, last_day) = days_of(stream);
        let sql = format!(
            "SELECT {COLUMNS} FROM events
             WHERE day BETWEEN $1 AND $2 AND job = $3 AND task = $4 AND version > $5 ORDER BY version LIMIT $6"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(first_day)
            .bind(last_day)
            .bind(id)
            .bind(task as i32);
        self.page(query.bind(after as i32), limit).await
    }

    /// Up to `limit` events of one stream before version `before`, newest first.
    pub async fn stream_back(&self, stream: StreamId, before: u32, limit: usize) -> Result<StreamPage, Error> {
        let (id, task) = stream.columns();
        let (first_day, last_day) = days_of(stream);
        let sql = format!(
            "SELECT {COLUMNS} FROM events
             WHERE day BETWEEN $1 AND $2 AND job = $3 AND task = $4 AND version < $5 ORDER BY version DESC LIMIT $6"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(first_day)
            .bind(last_day)
            .bind(id)
            .bind(task as i32);
        let before = i32::try_from(before).unwrap_or(i32::MAX);
        self.page(query.bind(before), limit).await
    }

    /// Up to `limit` events of a job and its tasks after `after`, in the order in which they happened.
    pub async fn job_events(&self, job: JobId, after: Seq, limit: usize) -> Result<StreamPage, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE day = $1 AND job = $2 AND NOT worker AND seq > $3 ORDER BY seq LIMIT $4"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(job.day())
            .bind(job.0)
            .bind(after.0 as i64);
        self.page(query, limit).await
    }

    async fn page(
        &self,
        query: sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>,
        limit: usize,
    ) -> Result<StreamPage, Error> {
        let pool = self.inner.pool.clone();
        let query = query.bind(limit as i64 + 1);
        let unit = async move { Ok(query.fetch_all(&pool).await?) };
        let mut rows = self.run("log.page", unit).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(StreamPage {
            events: read_all(&rows)?,
            more,
        })
    }

    /// Version of a stream's last event; 0: it has none.
    pub async fn stream_version(&self, stream: StreamId) -> Result<u32, Error> {
        let (pool, (id, task)) = (self.inner.pool.clone(), stream.columns());
        let (first_day, last_day) = days_of(stream);
        let unit = async move {
            let last = "SELECT version FROM events WHERE day BETWEEN $1 AND $2 AND job = $3 AND task = $4
                        ORDER BY version DESC LIMIT 1";
            let query = sqlx::query_scalar(last)
                .bind(first_day)
                .bind(last_day)
                .bind(id)
                .bind(task as i32);
            Ok(query.fetch_optional(&pool).await?.map_or(0, i32::unsigned_abs))
        };
        self.run("log.stream_version", unit).await
    }

    /// The event at a place.
    pub async fn event_at(&self, position: Position) -> Result<Option<StoredEvent>, Error> {
        let Position { shard, seq: Seq(seq) } = position;
        let page = self.events_after(shard, Seq(seq.saturating_sub(1)), 1).await?;
        Ok(page.events.into_iter().find(|event| event.position == position))
    }

    /// Where every shard stands, by shard.
    pub async fn heads(&self) -> Result<Vec<Head>, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let heads = "SELECT shard, epoch, next_seq, last_hash, published_seq, snapshot_seq, closed_before, owner
                         FROM shards ORDER BY shard";
            let rows = sqlx::query(heads).fetch_all(&pool).await?;
            rows.iter().map(read_head).collect()
        };
        self.run("log.heads", unit).await
    }

    /// The timeline of the log.
    pub async fn timeline(&self) -> Result<Uuid, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            Ok(sqlx::query_scalar("SELECT timeline FROM log_meta")
                .fetch_one(&pool)
                .await?)
        };
        self.run("log.timeline", unit).await
    }
}

/// A job's day is in its id; a worker's events are in the days in which they happened.
pub(super) fn days_of(stream: StreamId) -> (i32, i32) {
    match stream {
        StreamId::Job(job) => (job.day(), job.day()),
        StreamId::Task(task) => (task.job.day(), task.job.day()),
        StreamId::Worker(incarnation) => (JobId(incarnation.0).day().saturating_sub(1), i32::MAX),
    }
}

fn read_head(row: &PgRow) -> Result<Head, Error> {
    let hash: Vec<u8> = row.try_get(3)?;
    Ok(Head {
        shard: ShardId(row.try_get::<i16, _>(0)? as u16),
        epoch: Epoch(row.try_get::<i64, _>(1)? as u64),
        next_seq: Seq(row.try_get::<i64, _>(2)? as u64),
        last_hash: Hash::from_slice(&hash).unwrap_or_default(),
        published: Seq(row.try_get::<i64, _>(4)? as u64),
        snapshot_seq: Seq(row.try_get::<i64, _>(5)? as u64),
        closed_before: row.try_get(6)?,
        owner: row.try_get(7)?,
    })
}

fn read_all(rows: &[PgRow]) -> Result<Vec<StoredEvent>, Error> {
    Ok(rows.iter().map(StoredEvent::read).collect::<Result<_, _>>()?)
}

/// Up to `limit` events of a shard with `after < seq <= upto`. Which partitions to look into, the batches tell.
pub(super) async fn shard_page(
    pool: &PgPool,
    shard: ShardId,
    after: Seq,
    upto: Seq,
    limit: usize,
) -> Result<ShardPage, sqlx::Error> {
    // Every batch has at least one event, so these batches hold the page.
    let row = sqlx::query(
        "SELECT max(b.last_seq), array_agg(DISTINCT d.day)
         FROM (SELECT last_seq, days FROM batches WHERE shard = $1 AND last_seq > $2 AND first_seq <= $3
               ORDER BY last_seq LIMIT $4) AS b, unnest(b.days) AS d(day)",
    )
    .bind(shard.0 as i16)
    .bind(after.0 as i64)
    .bind(upto.0 as i64)
    .bind(limit as i64)
    .fetch_one(pool)
    .await?;
    let (last, days): (Option<i64>, Option<Vec<i32>>) = (row.try_get(0)?, row.try_get(1)?);
    let (Some(last), Some(days)) = (last, days) else {
        return Ok(ShardPage {
            events: Vec::new(),
            through: after,
        });
    };
    let last = Seq((last as u64).min(upto.0));
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE shard = $1 AND seq > $2 AND seq <= $3 AND day = ANY($4) ORDER BY seq LIMIT $5"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(shard.0 as i16)
        .bind(after.0 as i64)
        .bind(last.0 as i64)
        .bind(days)
        .bind(limit as i64)
        .fetch_all(pool)
        .await?;
    let events: Vec<StoredEvent> = rows.iter().map(StoredEvent::read).collect::<Result<_, _>>()?;
    let through = match events.last() {
        Some(event) if events.len() == limit => event.position.seq,
        _ => last,
    };
    Ok(ShardPage { events, through })
}
