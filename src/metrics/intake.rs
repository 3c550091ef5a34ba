//! The way of points to the writer: a bounded queue that never holds up who measures.
//!
//! Must stay true: a full queue costs points, which are counted, and nobody's time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::counter;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::options::{MetricsOptions, Tagging};
use super::point::Point;
use super::spill::Spill;
use super::store::MetricStore;
use super::writer::Writer;

/// Why values are dropped.
const WHYS: [&str; 6] = [
    "queue_full",
    "spill_full",
    "spill_unreadable",
    "store_away",
    "refused",
    "out_of_range",
];

/// Takes points in; cheap to clone.
#[derive(Clone)]
pub struct Points {
    queue: Option<mpsc::Sender<Point>>,
    dropped: Arc<AtomicU64>,
    /// Points that tell of something going on.
    news: Arc<AtomicU64>,
    pace: Pace,
    tagging: Tagging,
}

/// How often things are measured.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub every: Duration,
    /// While nothing goes on.
    pub idle: Duration,
}

impl Pace {
    pub fn of(options: &MetricsOptions) -> Self {
        Self {
            every: options.sample_interval,
            idle: options.idle_interval.max(options.sample_interval),
        }
    }
}

impl Points {
    /// Keeps none, and so nothing is measured.
    pub fn discard() -> Self {
        Self {
            queue: None,
            dropped: Arc::default(),
            news: Arc::default(),
            pace: Pace {
                every: Duration::MAX,
                idle: Duration::MAX,
            },
            tagging: Tagging::all(),
        }
    }

    /// How often things are measured; `None`: not at all.
    pub fn pace(&self) -> Option<Pace> {
        self.queue.as_ref().map(|_| self.pace)
    }

    /// Which points of attempts carry their task.
    pub const fn tagging(&self) -> Tagging {
        self.tagging
    }

    /// Takes a point that tells of something going on, or counts it as dropped. Returns at once.
    pub fn put(&self, point: Point) {
        self.news.fetch_add(1, Ordering::Relaxed);
        self.put_quietly(point);
    }

    /// How many points have told of something going on; a process in which it stays the same is idle.
    pub fn news(&self) -> u64 {
        self.news.load(Ordering::Relaxed)
    }

    /// As [`Points::put`], for a point that comes even when nothing goes on.
    pub fn put_quietly(&self, point: Point) {
        let Some(queue) = &self.queue else { return };
        let values = point.values().len() as u64;
        if values > 0 && queue.try_send(point).is_err() {
            self.count_dropped(values, "queue_full");
        }
    }

    pub(super) fn count_dropped(&self, values: u64, why: &'static str) {
        self.dropped.fetch_add(values, Ordering::Relaxed);
        counter!("grid_metric_points_dropped_total", "why" => why).increment(values);
    }

    /// Dropped values since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Points that wait to be written.
    pub fn waiting(&self) -> usize {
        let queue = self.queue.as_ref();
        queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }
}

fn spill(folder: &Path, limit_bytes: u64) -> Option<Spill> {
    match Spill::open(folder, limit_bytes) {
        Ok(spill) => Some(spill),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "metrics.spill.not_opened");
            None
        }
    }
}

/// The running writer.
pub struct Intake {
    pub points: Points,
    writer: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Intake {
    /// `folder` is where points wait on disk when the options name none.
    pub fn start(store: Arc<dyn MetricStore>, options: &MetricsOptions, folder: Option<&Path>) -> Self {
        let (queue, taken) = mpsc::channel(options.queue_points.max(1) as usize);
        let points = Points {
            queue: Some(queue),
            dropped: Arc::default(),
            news: Arc::default(),
            pace: Pace::of(options),
            tagging: Tagging::of(options),
        };
        for why in WHYS {
            counter!("grid_metric_points_dropped_total", "why" => why).absolute(0);
        }
        let (stop, stopped) = oneshot::channel();
        let writer = Writer {
            store,
            taken,
            stop: stopped,
            // The writer must not keep its own queue open.
            points: Points {
                queue: None,
                ..points.clone()
            },
            most: options.batch_points.max(1) as usize,
            flush: options.flush_interval,
            spill: options
                .spill_dir
                .as_deref()
                .or(folder)
                .and_then(|folder| spill(folder, options.spill_bytes)),
            pause: Writer::FIRST_PAUSE,
            away_until: None,
        };
        Self {
            points,
            stop,
            writer: crate::task::spawn("metrics.writer", writer.run()),
        }
    }

    /// Takes nothing more, and writes what waits, or puts it on disk, for at most so long.
    pub async fn stop(self, patience: Duration) {
        // A writer that is over needs no telling.
        let _ = self.stop.send(());
        let mut writer = self.writer;
        if tokio::time::timeout(patience, &mut writer).await.is_err() {
            writer.abort();
        }
    }
}
