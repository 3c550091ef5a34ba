//! The actor around the machine: it feeds it, asks the questions it has, and has one write under way at a time.
//!
//! Must stay true: what is fed never blocks the feeder (what does not fit is read from the log later); a write runs in a
//! task of its own and is never cancelled; with nothing to write and nobody waiting, the database is left alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::machine::{Feed, LogPage, Machine, Want, WriteSet, Written};
use super::options::ProjectionOptions;
use super::watermark::Watermarks;
use super::writer::Writer;
use crate::domain::{Seq, ShardId};

/// Why a page of the log could not be read.
pub type LogError = Box<dyn std::error::Error + Send + Sync>;

/// Where the projector reads what it was not fed.
pub trait LogPages: Send + Sync + 'static {
    /// About `most` events of the shard, in order, from the one after `after` on.
    fn page(&self, shard: ShardId, after: Seq, most: u32) -> BoxFuture<'static, Result<LogPage, LogError>>;
}

/// All that the projector works with.
#[derive(Clone)]
pub struct ProjectorParts {
    pub options: ProjectionOptions,
    pub writer: Writer,
    pub log: Arc<dyn LogPages>,
    pub watermarks: Watermarks,
}

/// What the handle and every instance of the actor share.
#[derive(Default)]
struct Shared {
    /// Open shards, and the last event that is known to be in their log: what was fed may overtake the opening in the
    /// mailbox, or be lost with an instance of the actor.
    open: BTreeMap<ShardId, Seq>,
    /// Shards with commits that did not fit into the mailbox, and their last event.
    missed: BTreeMap<ShardId, Seq>,
}

/// The way to the projector; cheap to clone.
#[derive(Clone)]
pub struct ProjectorHandle {
    parts: ProjectorParts,
    arbiter: ArbiterHandle,
    shared: Arc<Mutex<Shared>>,
    address: Arc<Mutex<Addr<Projector>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProjectorHandle {
    /// Starts the projector on `arbiter`.
    pub fn start(parts: ProjectorParts, arbiter: ArbiterHandle) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let address = Projector::start_on(&arbiter, parts.clone(), Arc::clone(&shared));
        Self {
            parts,
            arbiter,
            shared,
            address: Arc::new(Mutex::new(address)),
        }
    }

    /// This process has claimed the shard, whose log ends with `head`.
    pub fn open(&self, shard: ShardId, head: Seq) {
        lock(&self.shared).open.insert(shard, head);
        self.parts.watermarks.set_own(shard, true);
        self.send(Control::Open { shard });
    }

    /// The shard is no longer this process's.
    pub fn close(&self, shard: ShardId) {
        lock(&self.shared).open.remove(&shard);
        self.parts.watermarks.set_own(shard, false);
        self.send(Control::Close { shard });
    }

    /// Events of an open shard that were just committed. Never blocks.
    pub fn feed(&self, feed: Feed) {
        if feed.records.is_empty() {
            return;
        }
        let (shard, last) = (feed.shard, feed.last_seq());
        if let Some(head) = lock(&self.shared).open.get_mut(&shard) {
            *head = last.max(*head);
        }
        let sent = lock(&self.address).try_send(Fed(feed));
        if let Err(error) = sent {
            lock(&self.shared).missed.insert(shard, last);
            metrics::counter!("grid_projection_feeds_missed_total").increment(1);
            if matches!(error, SendError::Closed(_)) {
                self.revive();
            }
        }
    }

    /// Everything that was fed is written, or has failed to be.
    pub async fn drained(&self) {
        let address = lock(&self.address).clone();
        let _ = address.send(Drain).await;
    }

    /// Whether every open shard is taken in as it is committed, and how many events are known of and not yet written.
    pub async fn progress(&self) -> Option<Progress> {
        let address = lock(&self.address).clone();
        address.send(AskProgress).await.ok()
    }

    fn send(&self, control: Control) {
        // Rare, small, and must not be lost: it goes past the bound of the mailbox by the actor's own arbiter.
        let address = lock(&self.address).clone();
        let handle = self.clone();
        let sent = self.arbiter.spawn(async move {
            if address.send(control).await.is_err() {
                handle.revive();
            }
        });
        if !sent {
            tracing::warn!("projection.arbiter.gone");
        }
    }

    /// A panic has closed the mailbox for good: a new instance reads from the cursors on.
    fn revive(&self) {
        let mut address = lock(&self.address);
        if !address.connected() {
            tracing::error!("projection.actor.restarted");
            metrics::counter!("grid_actor_restarts_total", "actor" => "projector").increment(1);
            *address = Projector::start_on(&self.arbiter, self.parts.clone(), Arc::clone(&self.shared));
        }
    }
}

/// How far the projector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub live: bool,
    pub lag_events: u64,
}

struct Fed(Feed);

impl Message for Fed {
    type Result = ();
}

#[derive(Clone, Copy)]
enum Control {
    Open { shard: ShardId },
    Close { shard: ShardId },
}

impl Message for Control {
    type Result = ();
}

struct Drain;

impl Message for Drain {
    type Result = ();
}

struct AskProgress;

impl Message for AskProgress {
    type Result = Progress;
}

/// Keeps the read models of the shards that this process owns.
struct Projector {
    parts: ProjectorParts,
    machine: Machine,
    shared: Arc<Mutex<Shared>>,
    last_write: Option<Instant>,
    /// When the last write was answered.
    written_at: Option<Instant>,
    /// The cursors will be compared with what is believed to be written.
    doubting: bool,
    gathering: bool,
    pauses: BTreeMap<ShardId, Duration>,
    draining: Vec<tokio::sync::oneshot::Sender<()>>,
}

impl Actor for Projector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.parts.options.mailbox.max(1) as usize);
        let open = lock(&self.shared).open.clone();
        for (shard, head) in open {
            self.machine.open(shard, head);
        }
        self.go_on(ctx);
    }
}

impl Projector {
    fn start_on(arbiter: &ArbiterHandle, parts: ProjectorParts, shared: Arc<Mutex<Shared>>) -> Addr<Self> {
        Self::start_in_arbiter(arbiter, move |_| Self {
            machine: Machine::new(parts.options.max_gathered_events as usize),
            parts,
            shared,
            last_write: None,
            written_at: None,
            doubting: false,
            gathering: false,
            pauses: BTreeMap::new(),
            draining: Vec::new(),
        })
    }

    /// After every input: asks what there is to ask, writes what there is to write.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let missed = std::mem::take(&mut lock(&self.shared).missed);
        for (shard, head) in missed {
            self.machine.missed(shard, head);
        }
        for want in self.machine.wants() {
            match want {
                Want::Cursor(shard) => self.ask_cursor(shard, ctx),
                Want::Log { shard, after } => self.read_log(shard, after, ctx),
            }
        }
        self.write_or_gather(ctx);
        metrics::gauge!("grid_projection_gathered_events").set(self.machine.gathered_events() as f64);
        metrics::gauge!("grid_projection_lag_events").set(self.machine.lag_events() as f64);
        self.parts.watermarks.set_lag_events(self.machine.lag_events());
        metrics::gauge!("grid_projection_shards_behind").set(self.machine.behind() as f64);
        if !self.draining.is_empty() && self.machine.is_live() && self.machine.lag_events() == 0 {
            for done in self.draining.drain(..) {
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }

    fn write_or_gather(&mut self, ctx: &mut Context<Self>) {
        let options = &self.parts.options;
        let few = self.machine.gathered_rows() < options.few_rows as usize;
        let hurry = few || self.parts.watermarks.waiting() > 0 || !self.draining.is_empty();
        let early = self
            .last_write
            .map_or(Duration::ZERO, |at| options.gather.saturating_sub(at.elapsed()));
        if !hurry && !early.is_zero() {
            if !self.gathering {
                self.gathering = true;
                ctx.run_later(early, |this, ctx| {
                    this.gathering = false;
                    this.go_on(ctx);
                });
            }
            return;
        }
        if let Some(set) = self.machine.begin_write() {
            self.last_write = Some(Instant::now());
            self.write(set, ctx);
        }
    }

    fn write(&self, set: WriteSet, ctx: &mut Context<Self>) {
        let (begun, events, rows) = (Instant::now(), set.events, set.changes.rows());
        let writer = self.parts.writer.clone();
        let write = crate::task::spawn("projection.write", async move { writer.write(set).await });
        ctx.spawn(write.into_actor(self).map(move |written, this, ctx| {
            metrics::histogram!("grid_projection_write_seconds").record(begun.elapsed().as_secs_f64());
            metrics::counter!("grid_projection_events_total").increment(events as u64);
            metrics::counter!("grid_projection_rows_total").increment(rows as u64);
            this.written_at = Some(Instant::now());
            this.doubt_later(this.parts.options.durable_after, ctx);
            this.written(&written.unwrap_or_default(), ctx);
        }));
    }

    fn written(&mut self, written: &Written, ctx: &mut Context<Self>) {
        for (shard, seq) in self.machine.end_write(written) {
            self.pauses.remove(&shard);
            self.parts.watermarks.advance(shard, seq);
        }
        for &shard in &written.stalled {
            let pause = self.pause(shard);
            ctx.run_later(pause, move |this, ctx| {
                this.machine.restart(shard);
                this.go_on(ctx);
            });
        }
        self.go_on(ctx);
    }

    /// A crash of Postgres takes back what did not wait for the disk, and nothing shows it until the next write of the
    /// same shard. So once after every write, when it must be on the disk, the cursors are looked at.
    fn doubt_later(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        if !self.doubting {
            self.doubting = true;
            ctx.run_later(pause, |this, ctx| this.doubt(ctx));
        }
    }

    fn doubt(&self, ctx: &mut Context<Self>) {
        let (asked_at, believed) = (Instant::now(), self.machine.believed());
        let writer = self.parts.writer.clone();
        let ask = crate::task::spawn("projection.doubt", async move { writer.cursors().await });
        ctx.spawn(ask.into_actor(self).map(move |answer, this, ctx| {
            this.doubting = false;
            let pause = match answer {
                Ok(Ok(cursors)) => {
                    this.compare(&believed, &cursors);
                    // What was written a moment ago may still be taken back.
                    let durable_after = this.parts.options.durable_after;
                    let age = |at: Instant| asked_at.saturating_duration_since(at);
                    let fresh = this.written_at.is_some_and(|at| age(at) < durable_after);
                    fresh.then_some(durable_after)
                }
                Ok(Err(_)) | Err(_) => Some(this.parts.options.max_pause.min(Duration::from_secs(1))),
            };
            pause.into_iter().for_each(|pause| this.doubt_later(pause, ctx));
            this.go_on(ctx);
        }));
    }

    fn compare(&mut self, believed: &[(ShardId, Seq)], cursors: &BTreeMap<ShardId, Seq>) {
        for &(shard, written) in believed {
            let cursor = cursors.get(&shard).copied().unwrap_or_default();
            if self.machine.doubt(shard, written, cursor) {
                tracing::warn!(%shard, %written, %cursor, "projection.taken_back");
                metrics::counter!("grid_projection_taken_back_total").increment(1);
                self.parts.watermarks.take_back(shard, cursor);
            }
        }
    }

    /// How long to leave the shard alone after something has failed.
    fn pause(&mut self, shard: ShardId) -> Duration {
        let options = &self.parts.options;
        let pause = self.pauses.entry(shard).or_insert(options.min_pause);
        let now = *pause;
        *pause = (*pause * 2).min(options.max_pause);
        now
    }

    fn ask_cursor(&self, shard: ShardId, ctx: &mut Context<Self>) {
        let writer = self.parts.writer.clone();
        let ask = crate::task::spawn("projection.cursor", async move { writer.cursor(shard).await });
        ctx.spawn(ask.into_actor(self).map(move |answer, this, ctx| match answer {
            Ok(Ok(cursor)) => {
                this.parts.watermarks.advance(shard, cursor);
                if this.machine.head(shard).is_some_and(|head| cursor > head) {
                    tracing::error!(
                        %shard,
                        %cursor,
                        advice = "the read models are of another log: run `grid rebuild`",
                        "projection.ahead_of_log",
                    );
                }
                this.machine.cursor(shard, Some(cursor));
                this.go_on(ctx);
            }
            Ok(Err(error)) => this.cursor_failed(shard, &error, ctx),
            Err(error) => this.cursor_failed(shard, &error, ctx),
        }));
    }

    fn cursor_failed(&mut self, shard: ShardId, error: &dyn std::error::Error, ctx: &mut Context<Self>) {
        tracing::warn!(%shard, error = %error, "projection.cursor.unreadable");
        let pause = self.pause(shard);
        ctx.run_later(pause, move |this, ctx| {
            this.machine.cursor(shard, None);
            this.go_on(ctx);
        });
    }

    fn read_log(&self, shard: ShardId, after: Seq, ctx: &mut Context<Self>) {
        let most = self.parts.options.page_events.max(1);
        let page = crate::task::spawn("projection.log", self.parts.log.page(shard, after, most));
        ctx.spawn(page.into_actor(self).map(move |page, this, ctx| match page {
            // Somebody knows of events that the log does not give: not asked for again at once.
            Ok(Ok(page)) if page.through <= after && this.machine.head(shard).is_some_and(|head| head > after) => {
                this.log_failed(shard, after, &std::io::Error::other("it ends too early"), ctx);
            }
            Ok(Ok(page)) => {
                metrics::counter!("grid_projection_log_events_total").increment(page.events.len() as u64);
                this.machine.log(shard, after, Some(page));
                this.go_on(ctx);
            }
            Ok(Err(error)) => this.log_failed(shard, after, error.as_ref(), ctx),
            Err(error) => this.log_failed(shard, after, &error, ctx),
        }));
    }

    fn log_failed(&mut self, shard: ShardId, after: Seq, error: &dyn std::error::Error, ctx: &mut Context<Self>) {
        metrics::counter!("grid_projection_log_errors_total").increment(1);
        tracing::warn!(%shard, error = %error, "projection.log.unreadable");
        let pause = self.pause(shard);
        ctx.run_later(pause, move |this, ctx| {
            this.machine.log(shard, after, None);
            this.go_on(ctx);
        });
    }
}

impl Handler<Fed> for Projector {
    type Result = ();
    fn handle(&mut self, Fed(feed): Fed, ctx: &mut Self::Context) {
        self.machine.feed(&feed);
        self.go_on(ctx);
    }
}

impl Handler<Control> for Projector {
    type Result = ();
    fn handle(&mut self, control: Control, ctx: &mut Self::Context) {
        match control {
            Control::Open { shard } => {
                let head = lock(&self.shared).open.get(&shard).copied();
                // None: it has been closed again since.
                head.into_iter().for_each(|head| self.machine.open(shard, head));
            }
            Control::Close { shard } => self.machine.close(shard),
        }
        self.go_on(ctx);
    }
}

impl Handler<Drain> for Projector {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (done, drained) = tokio::sync::oneshot::channel();
        self.draining.push(done);
        self.go_on(ctx);
        Box::pin(async move {
            let _ = drained.await;
        })
    }
}

impl Handler<AskProgress> for Projector {
    type Result = MessageResult<AskProgress>;
    fn handle(&mut self, _: AskProgress, _: &mut Self::Context) -> Self::Result {
        MessageResult(Progress {
            live: self.machine.is_live(),
            lag_events: self.machine.lag_events(),
        })
    }
}
