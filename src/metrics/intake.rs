//! The way of points into a store: a bounded queue that never holds up who measures, and a writer that gathers.
//!
//! Must stay true: a full queue or a store that is away costs points, which are counted, and nobody's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::options::MetricsOptions;
use super::point::Point;
use super::store::MetricStore;

/// How long to wait before a batch is written again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Takes points in; cheap to clone.
#[derive(Clone)]
pub struct Points {
    queue: Option<mpsc::Sender<Point>>,
    dropped: Arc<AtomicU64>,
    /// Points that tell of something going on.
    news: Arc<AtomicU64>,
    pace: Pace,
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
        }
    }

    /// How often things are measured; `None`: not at all.
    pub fn pace(&self) -> Option<Pace> {
        self.queue.as_ref().map(|_| self.pace)
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

    fn count_dropped(&self, values: u64, why: &'static str) {
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

/// The running writer.
pub struct Intake {
    pub points: Points,
    writer: JoinHandle<()>,
}

impl Intake {
    pub fn start(store: Arc<dyn MetricStore>, options: &MetricsOptions) -> Self {
        let (queue, taken) = mpsc::channel(options.queue_points.max(1) as usize);
        let points = Points {
            queue: Some(queue),
            dropped: Arc::default(),
            news: Arc::default(),
            pace: Pace::of(options),
        };
        metrics::describe_counter!(
            "grid_metric_points_dropped_total",
            "Values of points that were dropped, by why."
        );
        metrics::describe_counter!(
            "grid_metric_points_written_total",
            "Values of points that the store took."
        );
        metrics::describe_gauge!("grid_metric_queue_depth", "Points that wait to be written.");
        counter!("grid_metric_points_dropped_total", "why" => "queue_full").absolute(0);
        let writer = Writer {
            store,
            taken,
            // The writer must not keep its own queue open.
            points: Points {
                queue: None,
                ..points.clone()
            },
            most: options.batch_points.max(1) as usize,
            flush: options.flush_interval,
        };
        Self {
            points,
            writer: crate::task::spawn("metrics.writer", writer.run()),
        }
    }

    /// Writes what waits, for at most so long, once every [`Points`] is gone.
    pub async fn stop(self, patience: Duration) {
        drop(self.points);
        let mut writer = self.writer;
        if tokio::time::timeout(patience, &mut writer).await.is_err() {
            writer.abort();
        }
    }
}

struct Writer {
    store: Arc<dyn MetricStore>,
    taken: mpsc::Receiver<Point>,
    points: Points,
    most: usize,
    flush: Duration,
}

impl Writer {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.taken.recv().await {
            batch.push(first);
            let flush_at = Instant::now() + self.flush;
            while batch.len() < self.most {
                let room = self.most - batch.len();
                match tokio::time::timeout_at(flush_at, self.taken.recv_many(&mut batch, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            self.write(&batch).await;
            batch.clear();
        }
    }

    /// Until the store has them; the queue fills meanwhile, and drops.
    async fn write(&self, batch: &[Point]) {
        let values: u64 = batch.iter().map(|point| point.values().len() as u64).sum();
        let mut pause = PAUSES.0;
        loop {
            gauge!("grid_metric_queue_depth").set(self.taken.len() as f64);
            match self.store.write(batch).await {
                Ok(left_out) => {
                    counter!("grid_metric_points_written_total").increment(values - left_out.min(values));
                    if left_out > 0 {
                        self.points.count_dropped(left_out, "out_of_range");
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, ?pause, "metrics.not_written"),
            }
            if self.taken.is_closed() {
                self.points.count_dropped(values, "store_away");
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}
