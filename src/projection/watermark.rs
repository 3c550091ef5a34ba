//! How far the read models are, for who waits until they hold what was just committed.
//!
//! Must stay true: a watermark never says more than what is committed to the read models (when a crash of Postgres takes
//! some of it back, it follows as soon as that is known); nobody waits beyond a
//! deadline; the database is asked only while somebody waits for a shard that another process writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{PgPool, Row};
use tokio::sync::watch;
use tokio::time::Instant;

use super::position::PositionToken;
use crate::domain::{Position, Seq, ShardId};

/// The read models were not there in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the read models of shard {shard} are at {at}, not yet at {wanted}", shard = .wanted.shard, wanted = .wanted.seq)]
pub struct Lagging {
    pub wanted: Position,
    pub at: Seq,
}

/// Handle to the watermarks of all shards; cheap to clone.
#[derive(Clone, Debug)]
pub struct Watermarks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    marks: Vec<Mark>,
    /// For shards of other processes.
    pool: PgPool,
    polling: AtomicBool,
    waiting: AtomicUsize,
    lag_events: AtomicU64,
}

#[derive(Debug)]
struct Mark {
    seq: watch::Sender<u64>,
    /// This process writes its rows.
    own: AtomicBool,
}

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Watermarks {
    /// For `shards` shards; `pool` is asked for those of other processes.
    pub fn new(shards: u16, pool: PgPool) -> Self {
        let marks = (0..shards)
            .map(|_| Mark {
                seq: watch::Sender::new(0),
                own: AtomicBool::new(false),
            })
            .collect();
        Self(Arc::new(Inner {
            marks,
            pool,
            polling: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            lag_events: AtomicU64::new(0),
        }))
    }

    fn mark(&self, shard: ShardId) -> Option<&Mark> {
        self.0.marks.get(usize::from(shard.0))
    }

    /// How far the shard's rows are, as far as this process knows.
    pub fn at(&self, shard: ShardId) -> Seq {
        Seq(self.mark(shard).map_or(0, |mark| *mark.seq.borrow()))
    }

    /// The shards whose rows this process writes, and how far these are.
    pub fn own(&self) -> BTreeMap<ShardId, Seq> {
        let marks = (0..).map(ShardId).zip(&self.0.marks);
        marks
            .filter(|(_, mark)| mark.own.load(Ordering::Relaxed))
            .map(|(shard, mark)| (shard, Seq(*mark.seq.borrow())))
            .collect()
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// How many events the rows of own shards are behind the log, as far as this process knows.
    pub fn lag_events(&self) -> u64 {
        self.0.lag_events.load(Ordering::Relaxed)
    }

    pub(super) fn set_lag_events(&self, events: u64) {
        self.0.lag_events.store(events, Ordering::Relaxed);
    }

    pub(super) fn set_own(&self, shard: ShardId, own: bool) {
        if let Some(mark) = self.mark(shard) {
            mark.own.store(own, Ordering::Relaxed);
        }
        self.poll_when_needed();
    }

    pub(super) fn advance(&self, shard: ShardId, seq: Seq) {
        if let Some(mark) = self.mark(shard) {
            mark.seq.send_if_modified(|at| {
                let later = *at < seq.0;
                if later {
                    *at = seq.0;
                }
                later
            });
        }
    }

    /// A crash of the database has taken back what came after `seq`.
    pub(super) fn take_back(&self, shard: ShardId, seq: Seq) {
        if let Some(mark) = self.mark(shard) {
            mark.seq
                .send_if_modified(|at| std::mem::replace(at, seq.0.min(*at)) > seq.0);
        }
    }

    /// Returns when the read models hold the position. May be cancelled.
    ///
    /// # Errors
    /// They did not until the deadline.
    pub async fn wait_for(&self, position: Position, deadline: Instant) -> Result<(), Lagging> {
        let lagging = |at| Lagging {
            wanted: position,
            at: Seq(at),
        };
        let Some(mark) = self.mark(position.shard) else {
            return Err(lagging(0));
        };
        if *mark.seq.borrow() >= position.seq.0 {
            return Ok(());
        }
        let mut receiver = mark.seq.subscribe();
        let _waiting = Waiting::begin(&self.0.waiting);
        self.poll_when_needed();
        let reached = tokio::time::timeout_at(deadline, receiver.wait_for(|at| *at >= position.seq.0)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(lagging(*mark.seq.borrow())),
        }
    }

    /// As [`Watermarks::wait_for`], for every shard that the token names.
    ///
    /// # Errors
    /// One of them was not there until the deadline.
    pub async fn wait_for_all(&self, token: &PositionToken, deadline: Instant) -> Result<(), Lagging> {
        for position in token.positions() {
            self.wait_for(position, deadline).await?;
        }
        Ok(())
    }

    /// Returns true when the read models hold something after any of these places; false at the deadline. May be
    /// cancelled.
    pub async fn wait_for_any(&self, places: impl IntoIterator<Item = Position>, deadline: Instant) -> bool {
        let later = places.into_iter().map(|Position { shard, seq }| {
            let next = Position {
                shard,
                seq: Seq(seq.0.saturating_add(1)),
            };
            Box::pin(self.wait_for(next, deadline))
        });
        let waits: Vec<_> = later.collect();
        // All of them have the same deadline.
        !waits.is_empty() && futures::future::select_all(waits).await.0.is_ok()
    }

    /// Shards of other processes that somebody waits for.
    fn awaited_elsewhere(&self) -> Vec<i32> {
        let marks = self.0.marks.iter().enumerate();
        marks
            .filter(|(_, mark)| !mark.own.load(Ordering::Relaxed) && mark.seq.receiver_count() > 0)
            .map(|(shard, _)| shard as i32)
            .collect()
    }

    fn poll_when_needed(&self) {
        if self.awaited_elsewhere().is_empty() || self.0.polling.swap(true, Ordering::AcqRel) {
            return;
        }
        let marks = self.clone();
        crate::task::spawn("projection.watermarks", async move {
            marks.poll().await;
            marks.0.polling.store(false, Ordering::Release);
            // Somebody may have begun to wait between the last look and the flag.
            marks.poll_when_needed();
        });
    }

    async fn poll(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let shards = self.awaited_elsewhere();
            if shards.is_empty() {
                return;
            }
            let rows = sqlx::query("SELECT shard, seq FROM grid_read.projection_cursors WHERE shard = ANY($1)")
                .bind(&shards)
                .fetch_all(&self.0.pool)
                .await;
            match rows {
                Ok(rows) => {
                    for row in rows {
                        if let (Ok(shard), Ok(seq)) = (row.try_get::<i32, _>(0), row.try_get::<i64, _>(1)) {
                            self.advance(ShardId(shard as u16), Seq(seq as u64));
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "projection.watermarks.unreadable"),
            }
            // Not a wait for an event that could be had: the writer is another process, and only its rows tell.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Counts itself for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
