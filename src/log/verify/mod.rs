//! Proving that the log is what was committed, and that everything made from it is its fold.
//!
//! Checked for each shard up to its head at the beginning: events are gapless and those of the commits, the commits are
//! chained, versions are contiguous, transitions legal, time never runs backwards, each event is in its day and shard,
//! snapshots equal the fold. A [`Witness`] compares what else was made from the events: the read models.
//!
//! Must stay true: it only reads; it may run beside a working system; memory holds jobs under way, not whole histories.

mod batches;
mod difference;
mod streams;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use self::batches::ChainCheck;
use self::difference::Differences;
pub use self::difference::{Difference, DifferenceKind};
use self::streams::StreamCheck;
use super::chain::Hash;
use super::stored::COLUMNS;
use super::{Error, Log, StoredEvent};
use crate::domain::{Job, Seq, ShardId, Timestamp};
use crate::event::EventRecord;

const PAGE_EVENTS: i64 = 5_000;

/// Follows one shard's events and compares something with them.
///
/// Events of a job come in order from its first; then the job is handed over once. If more of its events follow (it
/// was retried after it had come to rest), all of them are given again from the first, the job is handed over again,
/// and only the later differences count. Events of workers come once.
#[async_trait]
pub trait Witness: Send {
    /// The next event, which was legal.
    fn event(&mut self, stored: &StoredEvent, record: &EventRecord);

    /// Jobs whose events have all been given, up to the head or until they came to rest. State kept of them may go.
    async fn jobs(&mut self, jobs: &[&Job]) -> Result<Vec<Difference>, Error>;

    /// All events up to `head` have been given.
    async fn end(&mut self, head: Seq) -> Result<Vec<Difference>, Error>;
}

/// Makes the witness of a shard, whose events will be given up to the head.
pub type Witnesses<'a> = &'a (dyn Fn(ShardId, Seq) -> Box<dyn Witness> + Sync);

/// How to verify.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Differences listed; more are counted.
    pub most_differences: usize,
    pub concurrent_shards: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            most_differences: 1_000,
            concurrent_shards: 2,
        }
    }
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    pub shards: u64,
    pub events: u64,
    pub jobs: u64,
    /// Events of days that were dropped: the chain still proves their hashes.
    pub archived_events: u64,
    pub archived_days: Vec<i32>,
    pub differences: Vec<Difference>,
    /// Those that are not listed included.
    pub differences_total: u64,
}

impl VerifyReport {
    pub const fn is_clean(&self) -> bool {
        self.differences_total == 0
    }
}

impl Log {
    /// Verifies all shards. Differences are no error; an error means that it could not be checked.
    pub async fn verify(
        &self,
        options: VerifyOptions,
        witnesses: Option<Witnesses<'_>>,
    ) -> Result<VerifyReport, Error> {
        let pool = &self.inner.pool;
        let retired: BTreeSet<i32> = sqlx::query_scalar("SELECT day FROM retired_days")
            .fetch_all(pool)
            .await?
            .into_iter()
            .collect();
        let heads = sqlx::query("SELECT shard, next_seq, last_hash, last_at FROM shards ORDER BY shard");
        let rows = heads.fetch_all(pool).await?;
        let mut heads = Vec::with_capacity(rows.len());
        for row in &rows {
            heads.push(ShardHead {
                shard: ShardId(row.try_get::<i16, _>(0)? as u16),
                seq: Seq((row.try_get::<i64, _>(1)? as u64).saturating_sub(1)),
                hash: Hash::from_slice(row.try_get::<&[u8], _>(2)?).unwrap_or_default(),
                last_at: Timestamp::from_ms(row.try_get(3)?),
            });
        }
        let shards = heads.len() as u16;
        let one = |head: ShardHead| self.verify_shard(head, shards, &retired, options.most_differences, witnesses);
        let results = futures::stream::iter(heads)
            .map(one)
            .buffered(options.concurrent_shards.max(1));
        let results: Vec<ShardReport> = results.try_collect().await?;
        let mut found = Differences::new(options.most_differences);
        self.events_of_no_shard(shards, &mut found).await?;
        let mut report = VerifyReport {
            shards: u64::from(shards),
            ..VerifyReport::default()
        };
        for result in results {
            report.events += result.events;
            report.jobs += result.jobs;
            report.archived_events += result.archived;
            found.append(result.found);
        }
        report.archived_days = retired.into_iter().collect();
        report.differences = found.listed;
        report.differences_total = found.total;
        Ok(report)
    }

    async fn verify_shard(
        &self,
        head: ShardHead,
        shards: u16,
        retired: &BTreeSet<i32>,
        most: usize,
        witnesses: Option<Witnesses<'_>>,
    ) -> Result<ShardReport, Error> {
        let pool = &self.inner.pool;
        let shard = head.shard;
        let mut found = Differences::new(most);
        let mut chain = ChainCheck::new(pool.clone(), shard, head.seq, retired.clone());
        let witness = witnesses.map(|witnesses| witnesses(shard, head.seq));
        let mut streams = StreamCheck::new(pool.clone(), shard, shards, head.seq, !retired.is_empty(), witness).await?;
        let (mut events, mut last) = (0, (0, i32::MIN));
        loop {
            let page = self.all_events(shard, last, head.seq).await?;
            for stored in &page {
                chain.take(stored, &mut found).await?;
                streams.take(stored, &mut found).await?;
            }
            events += page.len() as u64;
            match page.last() {
                Some(stored) if page.len() == PAGE_EVENTS as usize => last = (stored.position.seq.0, stored.day),
                _ => break,
            }
        }
        chain.finish(head.hash, &mut found).await?;
        if streams.latest() > head.last_at {
            let (expected, got) = (
                format!("last_at {} or later", streams.latest()),
                head.last_at.to_string(),
            );
            found.add(Difference::new(DifferenceKind::Head, shard, expected, got));
        }
        let jobs = streams.finish(head.seq, &mut found).await?;
        self.events_after_head(shard, &mut found).await?;
        Ok(ShardReport {
            events,
            jobs,
            archived: chain.archived,
            found,
        })
    }

    /// A shard's events in order, from all partitions: the batches are not trusted here.
    async fn all_events(&self, shard: ShardId, after: (u64, i32), head: Seq) -> Result<Vec<StoredEvent>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE shard = $1 AND (seq, day) > ($2, $3) AND seq <= $4
             ORDER BY seq, day LIMIT $5"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(shard.0 as i16)
            .bind(after.0 as i64)
            .bind(after.1);
        let rows = query
            .bind(head.0 as i64)
            .bind(PAGE_EVENTS)
            .fetch_all(&self.inner.pool)
            .await?;
        Ok(rows.iter().map(StoredEvent::read).collect::<Result<_, _>>()?)
    }

    /// Events beyond what the shard's row knows, as of one moment.
    async fn events_after_head(&self, shard: ShardId, found: &mut Differences) -> Result<(), Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE shard = $1 AND seq >= (SELECT next_seq FROM shards WHERE shard = $1)
             ORDER BY seq, day LIMIT 1000"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(shard.0 as i16);
        for row in query.fetch_all(&self.inner.pool).await? {
            let stored = StoredEvent::read(&row)?;
            found.add(Difference::of_event(
                DifferenceKind::ExtraEvent,
                &stored,
                "no event after the shard's head",
                "one",
            ));
        }
        Ok(())
    }

    async fn events_of_no_shard(&self, shards: u16, found: &mut Differences) -> Result<(), Error> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE shard >= $1 OR shard < 0 LIMIT 1000");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(shards as i16);
        for row in query.fetch_all(&self.inner.pool).await? {
            let stored = StoredEvent::read(&row)?;
            let got = format!("shard {}", stored.position.shard);
            found.add(Difference::of_event(
                DifferenceKind::Shard,
                &stored,
                format!("a shard below {shards}"),
                got,
            ));
        }
        Ok(())
    }
}

struct ShardHead {
    shard: ShardId,
    seq: Seq,
    hash: Hash,
    last_at: Timestamp,
}

struct ShardReport {
    events: u64,
    jobs: u64,
    archived: u64,
    found: Differences,
}
