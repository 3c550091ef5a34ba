//! Read models made anew from the log, beside the old ones, which serve until both are swapped in one transaction.
//!
//! Must stay true: it may run beside a working system, and be cut off at any moment; what is swapped in holds every event
//! of the log up to the swap, and its cursors say so.

use std::time::Instant;

use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool};

use super::actor::{LogError, LogPages};
use super::change::Changes;
use super::machine::{LogPage, Move, WriteSet};
use super::writer::Writer;
use crate::config::Secret;
use crate::domain::{Seq, ShardId};
use crate::log::{Log, ONE_AT_A_TIME};

/// The schema in which they are made.
const NEXT_SCHEMA: &str = "grid_read_next";
/// Read and written at a time.
const PAGE_EVENTS: u32 = 20_000;
/// Rounds of catching up with a working system before the swap stops it for a moment.
const MOST_ROUNDS: u32 = 20;
/// A lag that is caught up in a moment.
const SHORT_LAG_EVENTS: u64 = 2_000;

/// A worker that registered on a day that was dropped from the log is still a worker: the old rows alone know it.
const KEEP_WORKERS: &str = "
    WITH earlier AS (
        UPDATE grid_read_next.workers n SET created_at = o.created_at FROM grid_read.workers o
        WHERE o.name = n.name AND o.created_at < n.created_at AND EXISTS (SELECT FROM retired_days)
    )
    INSERT INTO grid_read_next.workers (name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at,
        created_at, left_at, left_cause, cordoned, draining, seq)
    SELECT name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at, created_at, left_at, left_cause,
        cordoned, draining, seq
    FROM grid_read.workers WHERE EXISTS (SELECT FROM retired_days) ON CONFLICT (name) DO NOTHING";

/// Why the read models could not be made anew; the old ones are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("another `grid rebuild`, or a `grid archive`, is at work; wait until it has ended")]
    AtWork,
    #[error("the log: {0}")]
    Log(#[from] crate::log::Error),
    #[error("a page of the log cannot be read: {0}")]
    Page(LogError),
    #[error("the rows of shard {0} cannot be written; the log of this process says why")]
    Write(ShardId),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    pub events: u64,
    pub rows: u64,
    pub seconds: f64,
    /// How long nothing could be written to the read models.
    pub swap_seconds: f64,
}

/// Makes the read models anew. `owner_url`: of the owner of the tables, or of a superuser.
///
/// # Errors
/// The old read models stay as they are.
pub async fn rebuild(log: &Log, owner_url: &Secret) -> Result<Rebuilt, RebuildError> {
    let begun = Instant::now();
    let options: PgConnectOptions = owner_url.reveal().parse()?;
    let options = options
        .application_name("grid rebuild")
        .options([("lock_timeout", "30s")]);
    let mut owner = PgConnection::connect_with(&options).await?;
    become_owner(&mut owner).await?;
    // A day that is dropped while it is folded would come back in part.
    if !sqlx::query_scalar::<_, bool>(ONE_AT_A_TIME)
        .fetch_one(&mut owner)
        .await?
    {
        return Err(RebuildError::AtWork);
    }
    owner.execute("DROP SCHEMA IF EXISTS grid_read_next CASCADE").await?;
    owner
        .execute("SELECT grid_create_read_models('grid_read_next')")
        .await?;
    owner.execute("SELECT grid_add_lists('grid_read_next')").await?;
    owner.execute("SELECT grid_add_retries('grid_read_next')").await?;
    owner.execute("SELECT grid_add_label_counts('grid_read_next')").await?;

    let pool: PgPool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let mut work = Work {
        log,
        writer: Writer::in_schema(&pool, NEXT_SCHEMA),
        cursors: Vec::new(),
        done: Rebuilt::default(),
    };
    for head in log.heads().await? {
        let cursor = work.writer.cursor(head.shard).await?;
        work.cursors.push((head.shard, cursor));
    }
    for _ in 0..MOST_ROUNDS {
        if work.catch_up().await? <= SHORT_LAG_EVENTS {
            break;
        }
    }
    owner
        .execute("ANALYZE grid_read_next.jobs, grid_read_next.tasks")
        .await?;
    let swapping = Instant::now();
    let mut swap = owner.begin().await?;
    // From here on nobody moves the old ones; who tries waits, and then finds the new cursors.
    swap.execute("LOCK TABLE grid_read.projection_cursors IN ACCESS EXCLUSIVE MODE")
        .await?;
    work.catch_up().await?;
    swap.execute(KEEP_WORKERS).await?;
    swap.execute("DROP SCHEMA grid_read CASCADE").await?;
    swap.execute("ALTER SCHEMA grid_read_next RENAME TO grid_read").await?;
    swap.commit().await?;
    owner.close().await?;
    Ok(Rebuilt {
        seconds: begun.elapsed().as_secs_f64(),
        swap_seconds: swapping.elapsed().as_secs_f64(),
        ..work.done
    })
}

/// A superuser works as the owner, so that what is made belongs to the one who may change it.
async fn become_owner(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let superuser: bool = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        .fetch_one(&mut *connection)
        .await?;
    if superuser {
        connection.execute("SET ROLE grid_owner").await?;
    }
    Ok(())
}

struct Work<'a> {
    log: &'a Log,
    writer: Writer,
    cursors: Vec<(ShardId, Seq)>,
    done: Rebuilt,
}

impl Work<'_> {
    /// Takes every shard to its head; tells how many events that were.
    async fn catch_up(&mut self) -> Result<u64, RebuildError> {
        let before = self.done.events;
        for index in 0..self.cursors.len() {
            let (shard, cursor) = self.cursors[index];
            self.cursors[index].1 = self.shard(shard, cursor).await?;
        }
        Ok(self.done.events - before)
    }

    async fn shard(&mut self, shard: ShardId, mut cursor: Seq) -> Result<Seq, RebuildError> {
        let mut page = self.page(shard, cursor).await?;
        while page.through > cursor {
            let from = cursor;
            cursor = page.through;
            // The next page is read while this one is written.
            let (next, written) = futures::join!(self.page(shard, cursor), self.write(shard, from, page));
            let (events, rows) = written?;
            self.done.events += events;
            self.done.rows += rows;
            page = next?;
        }
        Ok(cursor)
    }

    async fn page(&self, shard: ShardId, after: Seq) -> Result<LogPage, RebuildError> {
        self.log
            .page(shard, after, PAGE_EVENTS)
            .await
            .map_err(RebuildError::Page)
    }

    async fn write(&self, shard: ShardId, from: Seq, page: LogPage) -> Result<(u64, u64), RebuildError> {
        let mut changes = Changes::default();
        for (seq, record) in &page.events {
            changes.apply(shard, *seq, record);
        }
        let (events, rows) = (page.events.len(), changes.rows());
        let set = WriteSet {
            moves: vec![Move {
                shard,
                from,
                to: page.through,
            }],
            changes,
            events,
        };
        let written = self.writer.write(set).await;
        if written.moved.contains(&shard) {
            Ok((events as u64, rows as u64))
        } else {
            Err(RebuildError::Write(shard))
        }
    }
}
