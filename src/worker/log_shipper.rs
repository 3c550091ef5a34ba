//! Lines to where they are kept (the API, which has a store; a Vector), and dead letters to the API: in batches, each after
//! 200 ms or 1 MiB, one at a time, until it is taken.
//!
//! All of it runs on a thread of its own, so that what tasks write slows neither tasks nor the worker.
//!
//! Must stay true: what waits has no more than a stated number of bytes, and nobody waits for room: lines that find none
//! are dropped, counted and told of; one way that is shut holds up no other.

mod api;
mod vector;

pub(super) use api::ApiSetup;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::dropped::Dropped;
use crate::logs::Line;
use crate::logs::recent::Recent;
use api::{Api, What};
use vector::Vector;

/// A batch is sent when it has so many bytes, or is so old.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_AGE: Duration = Duration::from_millis(200);
/// Lines that may wait, besides those of the batch on its way.
const WAITING_LINES: usize = 100_000;
const WAITING_BYTES: usize = 32 * 1024 * 1024;
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long the end may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// At the end, nothing more comes when nothing came for so long.
const SILENCE: Duration = Duration::from_millis(150);

/// Where lines go.
pub(super) enum Way {
    Api(Api),
    Vector(Vector),
    /// Not of lines, but of dead letters.
    Letters(Api),
}

impl Way {
    pub(super) fn to_api(setup: &ApiSetup<'_>) -> Self {
        Self::Api(Api::new(What::Lines, setup))
    }

    pub(super) fn of_letters(setup: &ApiSetup<'_>) -> Self {
        Self::Letters(Api::new(What::Letters, setup))
    }

    /// `address`: HOST:PORT.
    pub(super) fn to_vector(address: &str) -> Self {
        Self::Vector(Vector::new(address))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Api(_) => "api",
            Self::Vector(_) => "vector",
            Self::Letters(_) => "dead_letters",
        }
    }

    /// Counts what has arrived.
    fn arrived(&self, count: u64) {
        match self {
            Self::Api(_) | Self::Vector(_) => {
                metrics::counter!("grid_log_lines_sent_total", "to" => self.name()).increment(count);
            }
            Self::Letters(_) => metrics::counter!("grid_dead_letters_sent_total").increment(count),
        }
    }

    /// Counts what nobody takes.
    fn refused(&self, count: u64) {
        match self {
            Self::Api(_) | Self::Vector(_) => {
                metrics::counter!("grid_log_lines_dropped_total", "where" => "refused", "to" => self.name())
                    .increment(count);
            }
            Self::Letters(_) => {
                metrics::counter!("grid_dead_letters_dropped_total", "where" => "refused").increment(count);
            }
        }
    }
}

/// A line as JSON, and its position.
type Written = (i64, Bytes);

/// The way in.
pub(super) struct Shipper {
    /// Where they go, as metrics name it.
    to: &'static str,
    sender: mpsc::Sender<Written>,
    runtime: Handle,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<Dropped>,
}

/// The sending end, for who wants to see it end. Dropping it ends it at once.
pub(super) struct Shipping {
    finish: watch::Sender<bool>,
    finished: oneshot::Receiver<()>,
}

impl Shipper {
    /// Starts the thread. What is delivered is noted in `stored`.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(super) fn start(way: Way, stored: Option<Arc<Recent>>) -> io::Result<(Arc<Self>, Shipping)> {
        let to = way.name();
        let (sender, lines) = mpsc::channel(WAITING_LINES);
        let (finish, finishing) = watch::channel(false);
        let (done, finished) = oneshot::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let dropped = Arc::new(Dropped::default());
        let road = Road {
            way,
            stored,
            number: 0,
            waiting: Arc::clone(&waiting),
            dropped: Arc::clone(&dropped),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shipper = Self {
            to,
            sender,
            runtime: runtime.handle().clone(),
            waiting,
            dropped,
        };
        let thread = std::thread::Builder::new().name("grid-lines".to_owned());
        thread.spawn(move || {
            runtime.block_on(road.run(lines, finishing));
            // Nobody waits any more when the worker is gone.
            let _ = done.send(());
        })?;
        Ok((Arc::new(shipper), Shipping { finish, finished }))
    }

    /// Where lines are made.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Takes a line to be sent, if there is room.
    pub(super) fn take(&self, line: &Line) {
        if !self.push(line) {
            self.dropped.add(line);
            metrics::counter!("grid_log_lines_dropped_total", "where" => "worker", "to" => self.to).increment(1);
        }
    }

    fn push(&self, line: &Line) -> bool {
        let mut text = Vec::new();
        write(line, &mut text) && self.hand_on(line.position, text)
    }

    /// Takes a text that ends its line, if there is room. `position`: of a line that is kept in memory as well.
    pub(super) fn hand_on(&self, position: i64, text: Vec<u8>) -> bool {
        let bytes = text.len();
        // Counted before it can be taken out: that happens on another thread.
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_taken = waiting <= WAITING_BYTES && self.sender.try_send((position, text.into())).is_ok();
        if is_taken {
            metrics::gauge!("grid_log_waiting_bytes", "to" => self.to).set(waiting as f64);
        } else {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }
}

/// Writes a line, unless it cannot be written: but it is texts and numbers.
fn write(line: &Line, batch: &mut Vec<u8>) -> bool {
    let begin = batch.len();
    if serde_json::to_writer(&mut *batch, line).is_err() {
        batch.truncate(begin);
        return false;
    }
    batch.push(b'\n');
    true
}

impl Shipping {
    /// Waits until what was given before is sent, for a while.
    pub(super) async fn finish(self) {
        let Self { finish, finished } = self;
        finish.send_replace(true);
        // Until here `finish` is held: its end would be the end of the thread.
        if tokio::time::timeout(LAST_WORDS, finished).await.is_err() {
            tracing::warn!("log_shipper.not_finished");
        }
        drop(finish);
    }
}

/// The sending end.
struct Road {
    way: Way,
    stored: Option<Arc<Recent>>,
    number: u64,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<Dropped>,
}

impl Road {
    async fn run(mut self, mut lines: mpsc::Receiver<Written>, mut finishing: watch::Receiver<bool>) {
        loop {
            let first = tokio::select! {
                biased;
                first = lines.recv() => first,
                told = finishing.wait_for(|finishing| *finishing) => match told {
                    Ok(_) => break,
                    Err(_) => return,
                },
            };
            let Some(first) = first else { return };
            tokio::select! {
                () = self.pass_on(first, &mut lines) => {}
                () = gone(finishing.clone()) => return,
            }
        }
        let rest = async {
            while let Ok(Some(first)) = tokio::time::timeout(SILENCE, lines.recv()).await {
                self.pass_on(first, &mut lines).await;
            }
        };
        tokio::select! {
            () = rest => {}
            () = gone(finishing) => {}
        }
    }

    async fn pass_on(&mut self, first: Written, lines: &mut mpsc::Receiver<Written>) {
        let (mut batch, mut count, last) = gather(first, lines).await;
        let waiting = self.waiting.fetch_sub(batch.len(), Ordering::Relaxed) - batch.len();
        metrics::gauge!("grid_log_waiting_bytes", "to" => self.way.name()).set(waiting as f64);
        // Lines are dropped only while others wait, so a batch always comes that can tell of them.
        for told in self.dropped.take() {
            count += u64::from(write(&told, &mut batch));
        }
        self.number += 1;
        self.deliver(batch.into(), count).await;
        if let Some(recent) = &self.stored {
            recent.note_stored(last);
        }
    }

    /// Until it is taken, or refused for good.
    async fn deliver(&mut self, batch: Bytes, count: u64) {
        let to = self.way.name();
        let mut pause = PAUSES.0;
        let mut taken = 0;
        loop {
            let sent = match &mut self.way {
                Way::Api(api) | Way::Letters(api) => api.send(self.number, &batch).await,
                Way::Vector(vector) => vector.send(self.number, &batch, &mut taken).await,
            };
            match sent {
                Ok(()) => {
                    self.way.arrived(count);
                    return;
                }
                Err(Failed::ForGood(why)) => {
                    tracing::error!(why, lines = count, "log_shipper.refused");
                    self.way.refused(count);
                    return;
                }
                Err(Failed::ForNow(why)) => {
                    tracing::warn!(why, ?pause, "log_shipper.failed");
                    metrics::counter!("grid_log_send_failures_total", "to" => to).increment(1);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// Returns when nobody waits for the end any more.
async fn gone(mut finishing: watch::Receiver<bool>) {
    while finishing.changed().await.is_ok() {}
}

/// Why a batch was not taken.
pub(super) enum Failed {
    ForNow(String),
    ForGood(String),
}

/// What comes until the batch is full or old enough, how many lines that is, and the position of the last.
async fn gather(first: Written, lines: &mut mpsc::Receiver<Written>) -> (Vec<u8>, u64, i64) {
    let deadline = Instant::now() + BATCH_AGE;
    let (mut last, first) = first;
    let mut batch = first.to_vec();
    let mut count = 1;
    while batch.len() < BATCH_BYTES {
        match timeout_at(deadline, lines.recv()).await {
            Ok(Some((position, line))) => {
                last = position;
                batch.extend_from_slice(&line);
                count += 1;
            }
            Ok(None) | Err(_) => break,
        }
    }
    (batch, count, last)
}
