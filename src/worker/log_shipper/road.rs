//! The sending end of a way: sends batches one at a time, backs off while nobody takes them, and lets them wait on disk
//! meanwhile, where the way has a place there.
//!
//! Must stay true: batches go in the order in which they came; what waits on disk stays there over the end of the process,
//! until it was taken; while there is room on disk, memory never fills, whatever the other side does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::disk::Disk;
use super::queue::{Batch, Queue};
use super::{Failed, Way};
use crate::logs::recent::Recent;

/// A batch is sent when it is full, or so old.
const BATCH_AGE: Duration = Duration::from_millis(200);
/// Of one that goes to the disk: files should be few.
const SPILLED_AGE: Duration = Duration::from_secs(1);
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// At the end, nothing more comes when nothing came for so long.
const SILENCE: Duration = Duration::from_millis(150);
/// And a batch that can wait on disk is tried for so long.
const LAST_TRY: Duration = Duration::from_secs(1);

/// The batch that is sent, until it is taken or refused for good.
struct Head {
    batch: Batch,
    /// Lines of it that were taken.
    taken: usize,
    is_on_disk: bool,
}

impl Head {
    const fn new(batch: Batch, is_on_disk: bool) -> Self {
        Self {
            batch,
            taken: 0,
            is_on_disk,
        }
    }
}

pub(super) struct Road {
    way: Way,
    /// What is delivered is noted there.
    stored: Option<Arc<Recent>>,
    queue: Queue,
    disk: Disk,
    head: Option<Head>,
    pause: Duration,
    /// The other side did not take the last one, and is left alone until then.
    away_until: Option<Instant>,
}

impl Road {
    pub(super) fn new(way: Way, queue: Queue, disk: Disk, stored: Option<Arc<Recent>>) -> Self {
        Self {
            way,
            stored,
            queue,
            disk,
            head: None,
            pause: PAUSES.0,
            away_until: None,
        }
    }

    /// Until nothing comes any more, or `finishing` is true and nothing came for a while, or its sender is gone.
    pub(super) async fn run(mut self, finishing: watch::Receiver<bool>) {
        let steps = async { while self.step(&finishing).await {} };
        tokio::select! {
            () = steps => {}
            () = gone(finishing.clone()) => {}
        }
        self.keep_rest();
    }

    /// Sends a batch, or waits for one. False: it is over.
    async fn step(&mut self, finishing: &watch::Receiver<bool>) -> bool {
        self.show();
        let is_ending = *finishing.borrow();
        // Then all that comes goes there as well, and the end does not wait for the other side.
        let only_keeps = is_ending && self.disk.is_there() && (self.away_until.is_some() || !self.disk.is_empty());
        if !only_keeps {
            if self.head.is_none() {
                self.head = self.oldest();
            }
            if self.head.is_some() {
                self.send(finishing).await;
                return true;
            }
        }
        if !self.has_come(finishing.clone()).await {
            return false;
        }
        let Some(batch) = self.queue.next(BATCH_AGE).await else {
            return false;
        };
        if only_keeps {
            self.keep(batch);
        } else {
            self.head = Some(Head::new(batch, false));
        }
        true
    }

    /// The oldest of those that wait.
    fn oldest(&mut self) -> Option<Head> {
        while let Some(oldest) = self.disk.oldest() {
            if let Ok(lines) = oldest {
                let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                // Their positions are of no use in another process.
                let batch = Batch {
                    number: 0,
                    lines,
                    count,
                    last: 0,
                };
                return Some(Head::new(batch, true));
            }
            // How many it held is not known any more.
            self.way.dropped("spill_unreadable", 1);
        }
        self.disk.take_stuck().map(|batch| Head::new(batch, false))
    }

    /// Returns when there is a line; false: there will be none.
    async fn has_come(&mut self, mut finishing: watch::Receiver<bool>) -> bool {
        tokio::select! {
            biased;
            ready = self.queue.ready() => return ready,
            told = finishing.wait_for(|finishing| *finishing) => if told.is_err() {
                return false;
            },
        }
        timeout(SILENCE, self.queue.ready()).await.unwrap_or(false)
    }

    /// Tries to send the head, once; puts what comes meanwhile on disk, if the other side is away or memory fills.
    async fn send(&mut self, finishing: &watch::Receiver<bool>) {
        let sent = self.try_head(finishing).await;
        self.settle(sent);
    }

    async fn try_head(&mut self, finishing: &watch::Receiver<bool>) -> Result<(), Failed> {
        let Self {
            way,
            queue,
            disk,
            head: Some(head),
            away_until,
            ..
        } = self
        else {
            return Ok(());
        };
        let (to, is_away) = (way.name(), away_until.is_some());
        let sending = async {
            if let Some(until) = *away_until {
                sleep_until(until).await;
            }
            let Batch { number, lines, .. } = &head.batch;
            match way {
                Way::Api(api) | Way::Letters(api) => api.send(*number, lines).await,
                Way::Vector(vector) => vector.send(lines, &mut head.taken).await,
            }
        };
        let over = over(finishing.clone());
        tokio::pin!(sending, over);
        loop {
            let (can_wait, has_room) = (disk.is_there(), disk.has_room());
            tokio::select! {
                biased;
                sent = &mut sending => return sent,
                () = &mut over, if can_wait => return Err(Failed::ForNow("the worker ends".to_owned())),
                batch = queue.overflow(is_away, SPILLED_AGE), if has_room => { disk.keep(batch); }
            }
            metrics::gauge!("grid_log_spill_bytes", "to" => to).set(disk.bytes() as f64);
        }
    }

    fn settle(&mut self, sent: Result<(), Failed>) {
        let Some(head) = self.head.take() else { return };
        match sent {
            Ok(()) => self.way.arrived(head.batch.count),
            Err(Failed::ForGood(why)) => {
                tracing::error!(why, lines = head.batch.count, "log_shipper.refused");
                self.way.dropped("refused", head.batch.count);
            }
            Err(Failed::ForNow(why)) => {
                let pause = self.pause;
                tracing::warn!(why, ?pause, "log_shipper.failed");
                metrics::counter!("grid_log_send_failures_total", "to" => self.way.name()).increment(1);
                self.away_until = Some(Instant::now() + pause);
                self.pause = (pause * 2).min(PAUSES.1);
                self.head = Some(head);
                return;
            }
        }
        (self.away_until, self.pause) = (None, PAUSES.0);
        let stored = if head.is_on_disk {
            self.disk.remove_oldest()
        } else {
            Some(head.batch.last)
        };
        if let (Some(recent), Some(position)) = (&self.stored, stored) {
            recent.note_stored(position);
        }
    }

    fn keep(&mut self, batch: Batch) {
        if let Some(lost) = self.disk.keep(batch) {
            self.way.dropped("end", lost.count);
        }
    }

    /// Puts on disk what was not taken, if there is room.
    fn keep_rest(&mut self) {
        if let Some(head) = self.head.take().filter(|head| !head.is_on_disk) {
            let taken = head.taken as u64;
            self.way.arrived(taken);
            if !self.disk.keep_first(&behind(&head.batch.lines, head.taken)) {
                self.way.dropped("end", head.batch.count.saturating_sub(taken));
            }
        }
        while let Some(batch) = self.queue.at_once() {
            self.keep(batch);
        }
        if let Some(batch) = self.disk.take_stuck() {
            self.way.dropped("end", batch.count);
        }
        self.show();
    }

    fn show(&self) {
        if self.disk.is_there() {
            metrics::gauge!("grid_log_spill_bytes", "to" => self.way.name()).set(self.disk.bytes() as f64);
        }
    }
}

/// The lines behind the first ones.
fn behind(lines: &Bytes, taken: usize) -> Bytes {
    let Some(last_taken) = taken.checked_sub(1) else {
        return lines.clone();
    };
    let ends = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let begin = ends.map(|(at, _)| at + 1).nth(last_taken);
    lines.slice(begin.unwrap_or(lines.len())..)
}

/// Returns when the end has been waited for so long that what is under way should be given up.
async fn over(mut finishing: watch::Receiver<bool>) {
    // A sender that is gone is an end too.
    let _ = finishing.wait_for(|finishing| *finishing).await;
    tokio::time::sleep(LAST_TRY).await;
}

/// Returns when nobody waits for the end any more.
async fn gone(mut finishing: watch::Receiver<bool>) {
    while finishing.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_of_a_batch_does_not_go_again() {
        let batch = Bytes::from_static(b"a\nb\nc\n");
        assert_eq!(behind(&batch, 0), "a\nb\nc\n");
        assert_eq!(behind(&batch, 1), "b\nc\n");
        assert_eq!(behind(&batch, 3), "");
        assert_eq!(behind(&batch, 9), "");
    }
}
