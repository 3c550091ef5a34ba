//! Writes what is taken in: gathers batches, and while the store is away, backs off and lets them wait on disk.
//!
//! Must stay true: the queue is emptied whatever the store does, as long as there is room on disk; a batch that the
//! store will never take is given up; each value is in the end written, or counted as dropped.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::intake::Points;
use super::point::Point;
use super::spill::Spill;
use super::store::{MetricStore, StoreError};

/// How long to leave a store alone that did not answer, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

pub(super) struct Writer {
    pub store: Arc<dyn MetricStore>,
    pub taken: mpsc::Receiver<Point>,
    /// Answers, or is dropped, when no more is to be taken in.
    pub stop: oneshot::Receiver<()>,
    /// Only to count what is dropped: it has no queue.
    pub points: Points,
    /// Most points of a batch.
    pub most: usize,
    pub flush: Duration,
    pub spill: Option<Spill>,
    pub pause: Duration,
    /// The store is left alone until then.
    pub away_until: Option<Instant>,
}

/// What became of a batch.
enum Written {
    Yes,
    /// To be tried again.
    Not,
}

impl Writer {
    pub(super) const FIRST_PAUSE: Duration = PAUSES.0;

    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            self.show();
            let is_open = self.gather(&mut batch).await;
            if !batch.is_empty() {
                self.give(&mut batch, is_open).await;
            }
            self.give_spilled().await;
            if !is_open {
                self.show();
                return;
            }
        }
    }

    fn show(&self) {
        gauge!("grid_metric_queue_depth").set(self.taken.len() as f64);
        let spilled = self.spill.as_ref().map_or(0, Spill::bytes);
        gauge!("grid_metric_spill_bytes").set(spilled as f64);
    }

    /// Until the batch is full or it is time to write it; with something on disk, also until the store may be tried
    /// again. `false`: nothing will come any more.
    async fn gather(&mut self, batch: &mut Vec<Point>) -> bool {
        let now = Instant::now();
        let away = self.away_until.filter(|until| *until > now);
        if let (Some(until), None, false) = (away, &self.spill, batch.is_empty()) {
            // Its batch is in hand, so the queue has to wait.
            tokio::select! {
                () = tokio::time::sleep_until(until) => return !self.taken.is_closed(),
                _ = &mut self.stop, if !self.taken.is_closed() => self.taken.close(),
            }
            return false;
        }
        let has_spilled = self.spill.as_ref().is_some_and(|spill| !spill.is_empty());
        // While the store is away, batches gather for longer: they become files.
        let mut flush_at = away.or_else(|| (has_spilled || !batch.is_empty()).then_some(now));
        while batch.len() < self.most {
            let room = self.most - batch.len();
            let came = match flush_at {
                Some(at) => match tokio::time::timeout_at(at, self.receive(batch, room)).await {
                    Ok(came) => came,
                    Err(_) => return true,
                },
                None => self.receive(batch, room).await,
            };
            if came == 0 {
                return false;
            }
            flush_at = flush_at.or_else(|| Some(Instant::now() + self.flush));
        }
        true
    }

    /// Up to `room` points more; how many came, and 0 once all have been taken and no more will come.
    async fn receive(&mut self, batch: &mut Vec<Point>, room: usize) -> usize {
        tokio::select! {
            biased;
            came = self.taken.recv_many(batch, room) => came,
            _ = &mut self.stop, if !self.taken.is_closed() => {
                self.taken.close();
                self.taken.recv_many(batch, room).await
            }
        }
    }

    fn may_try(&self) -> bool {
        self.away_until.is_none_or(|until| until <= Instant::now())
    }

    /// Writes the batch, or lets it wait. Without a place on disk it stays where it is, and the queue fills.
    async fn give(&mut self, batch: &mut Vec<Point>, is_open: bool) {
        if (!is_open || self.may_try()) && matches!(self.write(batch).await, Written::Yes) {
            batch.clear();
            return;
        }
        match self.push(std::mem::take(batch)).await {
            Ok(()) => {}
            // The end: nobody comes back for it.
            Err(rest) if !is_open => self.points.count_dropped(values(&rest), "store_away"),
            Err(rest) if self.spill.is_some() => self.points.count_dropped(values(&rest), "spill_full"),
            Err(rest) => *batch = rest,
        }
    }

    /// Puts the batch on disk; gives it back when there is no room.
    async fn push(&mut self, batch: Vec<Point>) -> Result<(), Vec<Point>> {
        let Some(mut spill) = self.spill.take() else {
            return Err(batch);
        };
        let work = move || {
            let pushed = spill.push(&batch);
            (spill, batch, pushed)
        };
        let (spill, batch, pushed) = match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "metrics.spill.lost");
                return Ok(());
            }
        };
        self.spill = Some(spill);
        match pushed {
            Ok(true) => Ok(()),
            Ok(false) => Err(batch),
            Err(error) => {
                tracing::warn!(%error, "metrics.spill.not_written");
                Err(batch)
            }
        }
    }

    /// Writes what waits on disk, a batch at a time, for as long as nothing new has gathered.
    async fn give_spilled(&mut self) {
        while self.may_try() && self.taken.len() < self.most {
            let Some(spill) = self.spill.take() else { return };
            let read = tokio::task::spawn_blocking(move || {
                let oldest = spill.oldest();
                (spill, oldest)
            });
            let Ok((spill, oldest)) = read.await else { return };
            self.spill = Some(spill);
            match oldest {
                None => return,
                Some(Ok(batch)) => {
                    if matches!(self.write(&batch).await, Written::Not) {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "metrics.spill.unreadable");
                    // How many it held is not known any more.
                    self.points.count_dropped(1, "spill_unreadable");
                }
            }
            if let Some(spill) = &mut self.spill {
                spill.remove_oldest();
            }
            self.show();
        }
    }

    async fn write(&mut self, batch: &[Point]) -> Written {
        match self.store.write(batch).await {
            Ok(left_out) => {
                let values = values(batch);
                counter!("grid_metric_points_written_total").increment(values - left_out.min(values));
                if left_out > 0 {
                    self.points.count_dropped(left_out, "out_of_range");
                }
                self.answered();
                Written::Yes
            }
            Err(StoreError::Refused(why)) => {
                tracing::error!(why, points = batch.len(), "metrics.refused");
                self.points.count_dropped(values(batch), "refused");
                self.answered();
                Written::Yes
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::TooMuch { .. })) => {
                tracing::warn!(%error, pause = ?self.pause, "metrics.not_written");
                self.away_until = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSES.1);
                Written::Not
            }
        }
    }

    const fn answered(&mut self) {
        self.away_until = None;
        self.pause = PAUSES.0;
    }
}

fn values(batch: &[Point]) -> u64 {
    batch.iter().map(|point| point.values().len() as u64).sum()
}
