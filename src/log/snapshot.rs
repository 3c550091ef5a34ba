//! Snapshots of jobs, and of workers: a load reads the unfinished ones and the tail behind them.
//!
//! Must stay true: a snapshot is written only of committed state, so it is true whoever writes it, and an older one never
//! replaces a newer one; `snapshot_seq` moves only when every job changed up to there has its snapshot, and only by the
//! shard's present owner. No transaction stays open between round trips: each statement stands for itself.

use std::collections::{BTreeMap, VecDeque};

use sqlx::postgres::PgBindIterExt;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::{Epoch, Event, Incarnation, Job, JobId, SNAPSHOT_SCHEMA, Seq, ShardId, WorkerHistory, WorkerName};

/// A job's snapshot, for writing.
#[derive(Clone, Debug)]
pub struct SnapshotRow {
    pub job: JobId,
    /// Every event of the job up to here is in it, and none after.
    pub seq: Seq,
    /// Finished and nothing under way: a load leaves it in the database.
    pub at_rest: bool,
    /// `Job::to_snapshot`, not compressed.
    pub bytes: Vec<u8>,
}

/// Bytes of snapshots in one statement.
const STATEMENT_BYTES: usize = 4 << 20;
const COMPRESSION_LEVEL: i32 = 1;
/// A worker that has left is forgotten after this: by then nothing of it can still arrive. Not one that is cordoned:
/// that lasts until it is lifted.
const KEEP_LEFT_WORKERS_MS: i64 = 30 * 86_400_000;

impl Log {
    /// Writes the snapshots of all jobs of the shard that were changed by events up to `upto` since the last round, and
    /// then moves the shard's `snapshot_seq` there.
    ///
    /// The caller guarantees that `upto` is committed and that no changed job is missing.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the shard has another owner: the snapshots stay (they are true), `snapshot_seq` does not
    /// move.
    pub async fn write_snapshots(
        &self,
        shard: ShardId,
        epoch: Epoch,
        upto: Seq,
        rows: Vec<SnapshotRow>,
    ) -> Result<(), Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let mut rows = rows.into_iter();
            loop {
                let mut chunk = Vec::new();
                let mut bytes = 0;
                while bytes < STATEMENT_BYTES
                    && let Some(row) = rows.next()
                {
                    bytes += row.bytes.len();
                    chunk.push(row);
                }
                if chunk.is_empty() {
                    break;
                }
                write_chunk(&pool, shard, chunk).await?;
            }
            move_workers(&pool, shard, upto).await?;
            move_cursor(&pool, shard, epoch, upto).await
        };
        self.run("log.write_snapshots", unit).await
    }
}

async fn write_chunk(pool: &PgPool, shard: ShardId, chunk: Vec<SnapshotRow>) -> Result<(), Error> {
    let started = std::time::Instant::now();
    let compress = move || {
        let compressed = |row: &SnapshotRow| zstd::bulk::compress(&row.bytes, COMPRESSION_LEVEL);
        let bytes = chunk.iter().map(compressed).collect::<Result<Vec<_>, _>>();
        (chunk, bytes)
    };
    let (chunk, bytes) = tokio::task::spawn_blocking(compress)
        .await
        .map_err(|error| Error::Broken(error.to_string()))?;
    let bytes = bytes.map_err(|error| Error::Broken(format!("zstd: {error}")))?;
    sqlx::query(
        "INSERT INTO snapshots (shard, schema, job, seq, at_rest, raw_bytes, bytes)
         SELECT $1, $2, * FROM unnest($3::uuid[], $4::int8[], $5::bool[], $6::int4[], $7::bytea[])
         ON CONFLICT (job) DO UPDATE
         SET shard = excluded.shard, schema = excluded.schema, seq = excluded.seq, at_rest = excluded.at_rest,
             raw_bytes = excluded.raw_bytes, bytes = excluded.bytes
         WHERE snapshots.seq < excluded.seq OR (snapshots.seq = excluded.seq AND snapshots.schema <> excluded.schema)",
    )
    .bind(shard.0 as i16)
    .bind(SNAPSHOT_SCHEMA as i16)
    .bind(chunk.iter().map(|row| row.job.0).bind_iter())
    .bind(chunk.iter().map(|row| row.seq.0 as i64).bind_iter())
    .bind(chunk.iter().map(|row| row.at_rest).bind_iter())
    .bind(chunk.iter().map(|row| row.bytes.len() as i32).bind_iter())
    .bind(bytes.iter().map(Vec::as_slice).bind_iter())
    .execute(pool)
    .await?;
    metrics::counter!("grid_log_snapshots_total").increment(chunk.len() as u64);
    metrics::histogram!("grid_log_snapshot_seconds").record(started.elapsed().as_secs_f64());
    Ok(())
}

async fn move_cursor(pool: &PgPool, shard: ShardId, epoch: Epoch, upto: Seq) -> Result<(), Error> {
    let moved = sqlx::query(
        "UPDATE shards SET snapshot_seq = greatest(snapshot_seq, $3) WHERE shard = $1 AND epoch = $2 AND next_seq > $3",
    )
    .bind(shard.0 as i16)
    .bind(epoch.0 as i64)
    .bind(upto.0 as i64)
    .execute(pool)
    .await?;
    if moved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Fenced(shard))
    }
}

/// A worker's history as of `seq`.
#[derive(Clone, Debug)]
pub(super) struct WorkerHead {
    pub history: WorkerHistory,
    /// Version of the stream of its present incarnation.
    pub version: u32,
    pub seq: Seq,
    pub at_ms: i64,
}

/// Workers by name, while events are taken in.
#[derive(Debug, Default)]
pub(super) struct Workers(pub BTreeMap<WorkerName, WorkerHead>);

impl Workers {
    pub async fn read(pool: &PgPool, shard: ShardId) -> Result<Self, Error> {
        let heads = "SELECT name, incarnation, has_left, version, seq, at_ms, cordoned, draining, commands
                     FROM worker_heads WHERE shard = $1";
        let mut workers = Self::default();
        for row in sqlx::query(heads).bind(shard.0 as i16).fetch_all(pool).await? {
            let name: &str = row.try_get(0)?;
            let Ok(name) = name.parse() else { continue };
            let history = WorkerHistory {
                incarnation: Some(Incarnation(row.try_get(1)?)),
                left: row.try_get(2)?,
                cordoned: row.try_get(6)?,
                draining: row.try_get(7)?,
                commands: row.try_get::<Vec<Uuid>, _>(8)?.into(),
            };
            let head = WorkerHead {
                history,
                version: row.try_get::<i32, _>(3)? as u32,
                seq: Seq(row.try_get::<i64, _>(4)? as u64),
                at_ms: row.try_get(5)?,
            };
            workers.0.insert(name, head);
        }
        Ok(workers)
    }

    /// Takes in a worker's event; says why when it cannot be read.
    pub fn take(&mut self, stored: &StoredEvent) -> Result<(), String> {
        let header = stored.header().map_err(|error| error.to_string())?;
        let event = header.event().map_err(|error| error.to_string())?;
        let (name, incarnation) = match &event {
            Event::WorkerRegistered(registered) => (&registered.worker, registered.incarnation),
            Event::WorkerLeft(left) => (&left.worker, left.incarnation),
            Event::WorkerCordoned(event) => (&event.worker, event.incarnation),
            Event::WorkerUncordoned(event) => (&event.worker, event.incarnation),
            Event::WorkerDrainRequested(event) => (&event.worker, event.incarnation),
            other => return Err(format!("{} is not an event of a worker", other.type_name())),
        };
        let fresh = || WorkerHead {
            history: WorkerHistory::default(),
            version: 0,
            seq: Seq(0),
            at_ms: 0,
        };
        let head = self.0.entry(name.clone()).or_insert_with(fresh);
        if stored.position.seq > head.seq {
            head.history.apply(&event);
            if let Some(command) = header.command {
                head.history.remember(command);
            }
            if head.history.incarnation == Some(incarnation) {
                head.version = stored.version;
            }
            head.seq = stored.position.seq;
            head.at_ms = header.at.as_ms();
        }
        Ok(())
    }
}

/// Brings the workers' heads up to `upto`, and forgets those that left long ago.
async fn move_workers(pool: &PgPool, shard: ShardId, upto: Seq) -> Result<(), Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events
         WHERE worker AND shard = $1 AND seq > (SELECT snapshot_seq FROM shards WHERE shard = $1) AND seq <= $2
         ORDER BY seq"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(shard.0 as i16)
        .bind(upto.0 as i64);
    let rows = query.fetch_all(pool).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut workers = Workers::read(pool, shard).await?;
    let mut newest = 0;
    for row in &rows {
        // One that cannot be read is told of by the load and by verify; the others go on.
        let _ = workers.take(&StoredEvent::read(row)?);
    }
    let mut heads = Vec::new();
    for (name, head) in &workers.0 {
        newest = newest.max(head.at_ms);
        if let Some(incarnation) = head.history.incarnation {
            heads.push((name.as_str(), incarnation, head));
        }
    }
    sqlx::query(
        "INSERT INTO worker_heads (shard, name, incarnation, has_left, version, seq, at_ms, cordoned, draining,
             commands)
         SELECT $1, u.name, u.incarnation, u.has_left, u.version, u.seq, u.at_ms, u.cordoned, u.draining,
             u.commands::uuid[]
         FROM unnest($2::text[], $3::uuid[], $4::bool[], $5::int4[], $6::int8[], $7::int8[], $8::bool[], $9::bool[],
             $10::text[]) u(name, incarnation, has_left, version, seq, at_ms, cordoned, draining, commands)
         ON CONFLICT (shard, name) DO UPDATE
         SET incarnation = excluded.incarnation, has_left = excluded.has_left, version = excluded.version,
             seq = excluded.seq, at_ms = excluded.at_ms, cordoned = excluded.cordoned, draining = excluded.draining,
             commands = excluded.commands
         WHERE worker_heads.seq < excluded.seq",
    )
    .bind(shard.0 as i16)
    .bind(heads.iter().map(|(name, ..)| *name).bind_iter())
    .bind(heads.iter().map(|(_, incarnation, _)| incarnation.0).bind_iter())
    .bind(heads.iter().map(|(.., head)| head.history.left).bind_iter())
    .bind(heads.iter().map(|(.., head)| head.version as i32).bind_iter())
    .bind(heads.iter().map(|(.., head)| head.seq.0 as i64).bind_iter())
    .bind(heads.iter().map(|(.., head)| head.at_ms).bind_iter())
    .bind(heads.iter().map(|(.., head)| head.history.cordoned).bind_iter())
    .bind(heads.iter().map(|(.., head)| head.history.draining).bind_iter())
    // An array of arrays of different lengths is none.
    .bind(
        heads
            .iter()
            .map(|(.., head)| as_text(&head.history.commands))
            .collect::<Vec<_>>(),
    )
    .execute(pool)
    .await?;
    sqlx::query("DELETE FROM worker_heads WHERE shard = $1 AND has_left AND NOT cordoned AND at_ms < $2")
        .bind(shard.0 as i16)
        .bind(newest - KEEP_LEFT_WORKERS_MS)
        .execute(pool)
        .await?;
    Ok(())
}

/// As Postgres writes an array.
fn as_text(ids: &VecDeque<Uuid>) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// A snapshot as it stands in the database.
pub(super) struct StoredSnapshot {
    pub job: JobId,
    pub seq: Seq,
    schema: i16,
    raw_bytes: i32,
    bytes: Vec<u8>,
}

impl StoredSnapshot {
    pub const COLUMNS: &str = "job, seq, schema, raw_bytes, bytes";

    pub fn read(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            job: JobId(row.try_get(0)?),
            seq: Seq(row.try_get::<i64, _>(1)? as u64),
            schema: row.try_get(2)?,
            raw_bytes: row.try_get(3)?,
            bytes: row.try_get(4)?,
        })
    }

    /// The job; `None` when the snapshot is of another version or damaged, so that the events must tell.
    pub fn job(&self) -> Option<Job> {
        if self.schema != SNAPSHOT_SCHEMA as i16 {
            return None;
        }
        let raw_bytes = usize::try_from(self.raw_bytes).ok()?;
        let read = zstd::bulk::decompress(&self.bytes, raw_bytes)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Job::from_snapshot(&bytes).map_err(|error| error.to_string()));
        match read {
            Ok(job) if job.id() == self.job => Some(job),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(job = %self.job, error, "log.snapshot_ignored");
                None
            }
        }
    }
}
