//! What is sent at the end of a turn: reports and heartbeats.

use std::cmp::Reverse;

use super::{BEAT_GAP, Output, Phase, REGISTER_RETRY, REGISTER_WANTED, WorkerMachine};
use crate::domain::{Incarnation, ShardId, Timestamp};
use crate::event::{Grant, ReportItem, ReportMessage, Version, WorkerBeat};

/// Ends that may wait for their acknowledgement, besides twice the prefetch, before credits are held back for them.
pub(super) const PILE: u32 = 1_000;

impl WorkerMachine {
    /// What was said long enough ago without an acknowledgement is said again.
    pub(super) fn repeat_due(&mut self, now: Timestamp) {
        while let Some(Reverse((at, attempt))) = self.repeats.peek().copied() {
            if at > now {
                return;
            }
            self.repeats.pop();
            let is_due = self
                .find(attempt)
                .is_some_and(|held| held.repeat_at == at && !held.pending && held.has_news());
            if is_due {
                self.totals.repeats += 1;
                self.tell(attempt);
            }
        }
    }

    pub(super) fn settle_credits(&mut self, now: Timestamp) {
        self.credits.expire(self.options.inactive_after, now);
        self.prefetch = self.pace.recent(now).min(u64::from(self.options.prefetch_max));
        if self.registered && !self.is_closed() {
            // Ends that nobody acknowledges pile up here: with many of them, fewer new attempts are asked for.
            let piled = self.unacknowledged.saturating_sub(PILE + 2 * self.options.prefetch_max);
            let held = u64::from(self.running + self.queued + piled);
            self.credits.grant(u64::from(self.options.slots), self.prefetch, held);
        }
    }

    pub(super) fn send(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if !self.registered && self.phase == Phase::Serving && self.register_at <= now {
            self.register_at = now + REGISTER_RETRY;
            outputs.push(self.registration(now));
        }
        if self.registered && self.inventory_at <= now {
            self.inventory_at = now + self.options.inventory_interval;
            for (index, shard) in self.shards.iter_mut().enumerate() {
                shard.inventory_due = Some(self.standing);
                self.dirty.insert(ShardId(index as u16));
            }
        }
        self.send_reports(now, outputs);
        self.beat_wanted = self.changed || self.some_wait_for_credits();
        let extra = self.beat_wanted && self.liveness.next_extra_beat(BEAT_GAP) <= now;
        if extra || self.liveness.next_beat() <= now {
            self.send_beat(now, outputs);
        }
    }

    fn send_reports(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.dirty.is_empty() {
            return;
        }
        let grants = self.credits.grants();
        let mut repeats = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let Some(shard) = self.shards.get_mut(usize::from(id.0)) else {
                continue;
            };
            if shard.due(self.manner.delay).is_some_and(|due| due > now) {
                self.dirty.insert(id);
                continue;
            }
            let messages = shard.take(now, self.manner, &mut repeats);
            let Some(last) = messages.len().checked_sub(1) else {
                continue;
            };
            if let Some(owner) = shard.owner {
                self.credits.told(owner);
            }
            for (index, items) in messages.into_iter().enumerate() {
                self.totals.reports += 1;
                self.totals.report_items += items.len() as u64;
                let message = ReportMessage {
                    v: Version,
                    worker: self.identity.worker.clone(),
                    incarnation: self.identity.incarnation,
                    timeline: Some(self.identity.timeline),
                    sent_at: now,
                    // With the last one: a credit is free once the end that freed it is reported.
                    grants: if index == last { grants.clone() } else { Vec::new() },
                    items,
                };
                outputs.push(Output::Report { shard: id, message });
            }
        }
        self.repeats.extend(repeats.into_iter().map(Reverse));
    }

    /// Whether a jobmaster has new credits of which no report will tell it in a moment.
    fn some_wait_for_credits(&self) -> bool {
        let mut untold = self.credits.untold().peekable();
        if untold.peek().is_none() {
            return false;
        }
        let soon: Vec<Incarnation> = self
            .dirty
            .iter()
            .filter_map(|shard| self.shard(*shard).and_then(|shard| shard.owner))
            .collect();
        untold.any(|jobmaster| !soon.contains(&jobmaster))
    }

    fn send_beat(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.liveness.beaten(now);
        self.changed = false;
        self.beat_wanted = false;
        self.totals.beats += 1;
        let grants: Vec<Grant> = self.credits.grants();
        self.credits.told_all();
        outputs.push(Output::Beat(WorkerBeat {
            v: Version,
            worker: self.identity.worker.clone(),
            incarnation: self.identity.incarnation,
            timeline: Some(self.identity.timeline),
            sent_at: now,
            clock: None,
            endpoint_url: self.identity.endpoint_url.clone(),
            max_capacity: self.options.slots,
            running: self.running,
            queued: self.queued,
            labels: self.options.labels.clone(),
            draining: self.refuses(),
            cordoned: self.standing.cordoned,
            leaving: matches!(self.phase, Phase::Leaving { .. }),
            cpu_cores: 0.0,
            memory_bytes: 0,
            grants,
        }));
    }

    pub(super) fn say_goodbye(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.send_reports(now, outputs);
        self.send_beat(now, outputs);
        outputs.push(self.say_of_itself(ReportItem::Left {}, now));
    }

    fn registration(&self, now: Timestamp) -> Output {
        let began = ReportItem::Began {
            endpoint_url: self.identity.endpoint_url.clone(),
            max_capacity: self.options.slots,
            labels: self.options.labels.clone(),
            not_after: now + REGISTER_WANTED,
        };
        self.say_of_itself(began, now)
    }

    /// To the shard of its name, which keeps its history.
    fn say_of_itself(&self, item: ReportItem, now: Timestamp) -> Output {
        let message = ReportMessage {
            v: Version,
            worker: self.identity.worker.clone(),
            incarnation: self.identity.incarnation,
            timeline: Some(self.identity.timeline),
            sent_at: now,
            grants: Vec::new(),
            items: vec![item],
        };
        Output::Report {
            shard: ShardId(self.identity.worker.slot(self.identity.shards)),
            message,
        }
    }
}
