//! What has come in, made into batches.
//!
//! Must stay true: nothing is lost when waiting for a batch is given up; a batch counts as waiting until it is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use super::{WAITING_BYTES, Written, write};
use crate::logs::nanos;
use crate::worker::dropped::Dropped;

/// A batch is complete when it has so many bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// From here on what waits is too much for memory, where there is a disk.
pub(super) const PRESSURE_BYTES: usize = WAITING_BYTES / 2;

/// Lines, each with its end.
#[derive(Debug)]
pub(super) struct Batch {
    pub number: u64,
    pub lines: Bytes,
    pub count: u64,
    /// Position of the last one.
    pub last: i64,
}

/// Between who gives lines and who sends them.
#[derive(Default)]
pub(super) struct Between {
    /// Bytes of lines that are in no batch yet.
    pub waiting: AtomicUsize,
    /// Told when these are more than [`PRESSURE_BYTES`].
    pub pressed: Notify,
    pub dropped: Dropped,
}

/// A batch that more is added to.
struct Open {
    begun: Instant,
    lines: Vec<u8>,
    count: u64,
    last: i64,
    /// What it counts for among what waits.
    waiting: usize,
}

pub(super) struct Queue {
    to: &'static str,
    lines: mpsc::Receiver<Written>,
    between: Arc<Between>,
    number: u64,
    /// Whether times of lines get digits below the millisecond, by which VictoriaLogs keeps them in order.
    has_digits: bool,
    open: Option<Open>,
}

impl Queue {
    pub fn new(to: &'static str, lines: mpsc::Receiver<Written>, between: Arc<Between>, has_digits: bool) -> Self {
        Self {
            to,
            lines,
            between,
            number: 0,
            has_digits,
            open: None,
        }
    }

    /// Returns when there is a line; `false`: there will be none.
    pub async fn ready(&mut self) -> bool {
        if self.open.is_none() {
            let Some(line) = self.lines.recv().await else {
                return false;
            };
            self.add(&line);
        }
        true
    }

    /// The next batch, when it is full or so old; `None`: there will be none.
    pub async fn next(&mut self, age: Duration) -> Option<Batch> {
        if !self.ready().await {
            return None;
        }
        while let Some(open) = &self.open
            && open.lines.len() < BATCH_BYTES
        {
            match timeout_at(open.begun + age, self.lines.recv()).await {
                Ok(Some(line)) => self.add(&line),
                Ok(None) | Err(_) => break,
            }
        }
        self.close()
    }

    /// A batch for the disk: at once, or when more waits than memory should hold. For ever, when nothing comes any more.
    pub async fn overflow(&mut self, at_once: bool, age: Duration) -> Batch {
        while !at_once && self.between.waiting.load(Ordering::Relaxed) <= PRESSURE_BYTES {
            self.between.pressed.notified().await;
        }
        match self.next(age).await {
            Some(batch) => batch,
            None => std::future::pending().await,
        }
    }

    /// What is here already.
    pub fn at_once(&mut self) -> Option<Batch> {
        while self.open.as_ref().is_none_or(|open| open.lines.len() < BATCH_BYTES)
            && let Ok(line) = self.lines.try_recv()
        {
            self.add(&line);
        }
        self.close()
    }

    fn add(&mut self, (position, line): &Written) {
        let number = &mut self.number;
        let open = self.open.get_or_insert_with(|| {
            *number += 1;
            Open {
                begun: Instant::now(),
                lines: Vec::new(),
                count: 0,
                last: 0,
                waiting: 0,
            }
        });
        open.waiting += line.len();
        open.last = *position;
        push(open, line, self.has_digits.then_some(*number));
    }

    fn close(&mut self) -> Option<Batch> {
        let mut open = self.open.take()?;
        let waiting = self.between.waiting.fetch_sub(open.waiting, Ordering::Relaxed) - open.waiting;
        metrics::gauge!("grid_log_waiting_bytes", "to" => self.to).set(waiting as f64);
        // Lines are dropped only while others wait, so a batch always comes that can tell of them.
        for told in self.between.dropped.take() {
            let mut line = Vec::new();
            if write(&told, &mut line) {
                push(&mut open, &line, self.has_digits.then_some(self.number));
            }
        }
        Some(Batch {
            number: self.number,
            lines: open.lines.into(),
            count: open.count,
            last: open.last,
        })
    }
}

fn push(open: &mut Open, line: &[u8], digits_of: Option<u64>) {
    let begin = open.lines.len();
    open.lines.extend_from_slice(line);
    if let Some(number) = digits_of {
        let place = usize::try_from(open.count).unwrap_or(usize::MAX);
        nanos::number(&mut open.lines, begin, nanos::below_ms(number, place));
    }
    open.count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_millis(20);

    fn queue(has_digits: bool) -> (mpsc::Sender<Written>, Queue) {
        let (sender, lines) = mpsc::channel(10);
        (sender, Queue::new("test", lines, Arc::default(), has_digits))
    }

    fn give(sender: &mpsc::Sender<Written>, queue: &Queue, position: i64, line: &'static str) {
        queue.between.waiting.fetch_add(line.len(), Ordering::Relaxed);
        sender
            .try_send((position, Bytes::from_static(line.as_bytes())))
            .unwrap();
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let (sender, mut queue) = queue(false);
        give(&sender, &queue, 3, "a\n");
        let given_up = tokio::time::timeout(AGE, queue.next(Duration::from_secs(60))).await;
        assert!(given_up.is_err());
        give(&sender, &queue, 4, "b\n");
        let batch = queue.next(AGE).await.unwrap();
        assert_eq!((&batch.lines[..], batch.count, batch.last), (&b"a\nb\n"[..], 2, 4));
        assert_eq!(queue.between.waiting.load(Ordering::Relaxed), 0);
        give(&sender, &queue, 5, "c\n");
        let batch = queue.at_once().unwrap();
        assert_eq!((&batch.lines[..], batch.number), (&b"c\n"[..], 2));
        assert!(queue.at_once().is_none());
        drop(sender);
        assert!(queue.next(AGE).await.is_none() && !queue.ready().await);
    }

    #[tokio::test]
    async fn lines_get_digits_by_their_place() {
        let (sender, mut queue) = queue(true);
        for position in 0..2 {
            let line = "{\"@timestamp\":\"2026-01-31T10:00:00.123Z\"}\n";
            give(&sender, &queue, position, line);
        }
        let batch = queue.next(AGE).await.unwrap();
        let digits = |place| {
            format!(
                "{{\"@timestamp\":\"2026-01-31T10:00:00.123{:06}Z\"}}\n",
                nanos::below_ms(1, place)
            )
        };
        assert_eq!(batch.lines, digits(0) + &digits(1));
        assert_eq!(queue.between.waiting.load(Ordering::Relaxed), 0);
    }
}
