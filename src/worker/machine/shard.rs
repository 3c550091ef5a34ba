//! What the worker knows of one shard: its owner, the attempts it gave, and what is to be told to it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::attempt::{Held, Stage, size_of};
use crate::domain::{Epoch, Incarnation, Standing, Timestamp};
use crate::event::{AttemptRef, ReportItem};

/// A message is closed at this size: reports of the longest failures stay well under the bus's limit.
const MESSAGE_BYTES: usize = 512 * 1024;
/// About what an item takes in a message, besides the texts of its outcome.
const ITEM_BYTES: usize = 120;

#[derive(Debug, Default)]
pub(super) struct Shard {
    /// The highest that was seen.
    pub(super) epoch: Option<Epoch>,
    /// The jobmaster that sent it.
    pub(super) owner: Option<Incarnation>,
    pub(super) attempts: BTreeMap<AttemptRef, Held>,
    /// Attempts with news, in the order in which they had them.
    pending: Vec<AttemptRef>,
    last_sent: Option<Timestamp>,
    /// An inventory goes with the next message, with how the worker believes to stand.
    pub(super) inventory_due: Option<Standing>,
}

/// How reports are sent and repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) delay: Duration,
    pub(super) retry_min: Duration,
    pub(super) retry_max: Duration,
}

impl Shard {
    /// Puts the attempt's news into the next message.
    pub(super) fn tell(&mut self, attempt: AttemptRef) {
        if let Some(held) = self.attempts.get_mut(&attempt)
            && !held.pending
            && held.has_news()
        {
            held.pending = true;
            self.pending.push(attempt);
        }
    }

    /// A new owner: all that is not acknowledged is said to it at once.
    pub(super) fn tell_all_again(&mut self) {
        for (attempt, held) in &mut self.attempts {
            held.reset_repeats();
            if !held.pending && held.has_news() {
                held.pending = true;
                self.pending.push(*attempt);
            }
        }
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When the next message may go: at once after a pause, else when the delay since the last one is over.
    pub(super) fn due(&self, delay: Duration) -> Option<Timestamp> {
        let earliest = self.last_sent.map_or(Timestamp::ZERO, |sent| sent + delay);
        if self.inventory_due.is_some() {
            return Some(Timestamp::ZERO);
        }
        self.has_pending().then_some(earliest)
    }

    /// The items of the next messages, and when each is to be repeated.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        manner: Manner,
        repeats: &mut Vec<(Timestamp, AttemptRef)>,
    ) -> Vec<Vec<ReportItem>> {
        let mut messages = Vec::new();
        let mut items = Vec::with_capacity(self.pending.len() + 1);
        let mut bytes = 0;
        for attempt in self.pending.drain(..) {
            let Some(held) = self.attempts.get_mut(&attempt).filter(|held| held.pending) else {
                continue;
            };
            let news = held.has_news();
            let repeat_at = held.said(now, manner.retry_min, manner.retry_max);
            let item = match &held.stage {
                Stage::Ended(outcome) => {
                    bytes += size_of(outcome);
                    ReportItem::Ended {
                        attempt,
                        outcome: outcome.clone(),
                    }
                }
                Stage::Running { .. } if news => ReportItem::Started { attempt },
                Stage::Running { .. } | Stage::Queued { .. } => continue,
            };
            repeats.push((repeat_at, attempt));
            items.push(item);
            bytes += ITEM_BYTES;
            if bytes >= MESSAGE_BYTES {
                messages.push(std::mem::take(&mut items));
                bytes = 0;
            }
        }
        if let Some(standing) = self.inventory_due.take() {
            items.push(ReportItem::Inventory {
                attempts: self.attempts.keys().copied().collect(),
                standing,
            });
        }
        if !items.is_empty() {
            messages.push(items);
        }
        if !messages.is_empty() {
            self.last_sent = Some(now);
        }
        messages
    }
}
