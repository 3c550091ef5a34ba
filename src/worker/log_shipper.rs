//! Lines to where they are kept (the API, which has a store; a Vector), and dead letters to the API: in batches, each after
//! 200 ms or 1 MiB, one at a time, until it is taken.
//!
//! All of it runs on a thread of its own, so that what tasks write slows neither tasks nor the worker.
//!
//! Must stay true: what waits has no more than a stated number of bytes, in memory and on disk, and nobody waits for room:
//! lines that find none are dropped, counted and told of; one way that is shut holds up no other.

mod api;
mod disk;
mod queue;
mod road;
mod vector;

pub(super) use api::ApiSetup;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::logs::Line;
use crate::logs::recent::Recent;
use crate::spill::Spill;
use api::{Api, What};
use disk::Disk;
use queue::{Between, PRESSURE_BYTES, Queue};
use road::Road;
use vector::Vector;

/// Lines that may wait, besides those of the batch on its way.
const WAITING_LINES: usize = 100_000;
const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// How long the end may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// And until what is left is on disk.
const LAST_WRITES: Duration = Duration::from_secs(2);

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

    /// `address`: HOST:PORT. With authorities (PEM), by TLS.
    pub(super) fn to_vector(address: &str, authorities: Option<&Path>) -> Self {
        Self::Vector(Vector::new(address, authorities))
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

    /// Counts what was given up there.
    fn dropped(&self, place: &'static str, count: u64) {
        match self {
            Self::Api(_) | Self::Vector(_) => {
                metrics::counter!("grid_log_lines_dropped_total", "where" => place, "to" => self.name())
                    .increment(count);
            }
            Self::Letters(_) => metrics::counter!("grid_dead_letters_dropped_total", "where" => place).increment(count),
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
    between: Arc<Between>,
}

/// The sending end, for who wants to see it end. Dropping it ends it at once.
pub(super) struct Shipping {
    finish: watch::Sender<bool>,
    finished: oneshot::Receiver<()>,
}

impl Shipper {
    /// Starts the thread. What is delivered is noted in `stored`; `spill`: where on disk it waits while nobody takes it.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(super) fn start(
        way: Way,
        stored: Option<Arc<Recent>>,
        spill: Option<Spill>,
    ) -> io::Result<(Arc<Self>, Shipping)> {
        let to = way.name();
        let (sender, lines) = mpsc::channel(WAITING_LINES);
        let (finish, finishing) = watch::channel(false);
        let (done, finished) = oneshot::channel();
        let between = Arc::new(Between::default());
        let queue = Queue::new(to, lines, Arc::clone(&between), matches!(way, Way::Vector(_)));
        let road = Road::new(way, queue, Disk::new(spill), stored);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shipper = Self {
            to,
            sender,
            runtime: runtime.handle().clone(),
            between,
        };
        let thread = std::thread::Builder::new().name("grid-lines".to_owned());
        thread.spawn(move || {
            runtime.block_on(road.run(finishing));
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
            self.between.dropped.add(line);
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
        let between = &self.between;
        // Counted before it can be taken out: that happens on another thread.
        let waiting = between.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_taken = waiting <= WAITING_BYTES && self.sender.try_send((position, text.into())).is_ok();
        if is_taken {
            metrics::gauge!("grid_log_waiting_bytes", "to" => self.to).set(waiting as f64);
        } else {
            between.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        if waiting > PRESSURE_BYTES {
            between.pressed.notify_one();
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
        let Self { finish, mut finished } = self;
        finish.send_replace(true);
        // Until here `finish` is held: its end would be the end of the thread.
        if tokio::time::timeout(LAST_WORDS, &mut finished).await.is_ok() {
            return;
        }
        tracing::warn!("log_shipper.not_finished");
        drop(finish);
        // Who comes next finds on disk what this one leaves there.
        let _ = tokio::time::timeout(LAST_WRITES, finished).await;
    }
}

/// Why a batch was not taken.
pub(super) enum Failed {
    ForNow(String),
    ForGood(String),
}

#[cfg(test)]
mod tests;
