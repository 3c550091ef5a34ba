//! Attempts come, run, end and are forgotten.

use super::attempt::{Ending, Held, Stage};
use super::{ExitReason, Output, Phase, WorkerMachine};
use crate::domain::{Failure, FailureReason, ShardId, Timestamp};
use crate::event::{Assignment, AssignmentItem, AssignmentMessage, AttemptRef, Outcome, ReportKind};

impl WorkerMachine {
    pub(super) fn assignments(
        &mut self,
        offset: i64,
        message: AssignmentMessage,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        // A second delivery could otherwise start an attempt again that has ended and been forgotten.
        if self.offset.is_some_and(|last| offset <= last) && !mutant!(SecondDelivery) {
            self.totals.dropped += 1;
            return;
        }
        self.offset = Some(offset);
        let for_me = message.timeline == self.identity.timeline && message.incarnation == self.identity.incarnation;
        if !for_me || usize::from(message.shard.0) >= self.shards.len() {
            self.totals.dropped += 1;
            return;
        }
        let charged = message
            .items
            .iter()
            .filter(|item| matches!(item, AssignmentItem::Assign { assignment } if assignment.charged));
        self.credits.received(message.jobmaster, charged.count() as u64);
        if !self.accept_epoch(&message) {
            self.totals.dropped += 1;
            return;
        }
        for item in message.items {
            match item {
                AssignmentItem::Registered { standing } => {
                    // It stands as it is told before the first credit.
                    self.told_standing(standing, now);
                    self.registered = true;
                }
                AssignmentItem::Superseded {} => return self.exit(ExitReason::Superseded, outputs),
                AssignmentItem::Removed {} => {
                    if matches!(self.phase, Phase::Leaving { .. }) {
                        return self.exit(ExitReason::Drained, outputs);
                    }
                }
                AssignmentItem::Assign { assignment } => self.assign(message.shard, assignment, now),
                AssignmentItem::Cancel { attempt } => self.cancel(message.shard, attempt, outputs),
                AssignmentItem::Stop { attempt } => self.stop(message.shard, attempt, outputs),
                AssignmentItem::Standing { standing } => self.told_standing(standing, now),
                AssignmentItem::Ack { kind, attempts } => {
                    attempts
                        .into_iter()
                        .for_each(|attempt| self.acknowledged(message.shard, kind, attempt));
                }
            }
        }
    }

    /// Whether the message is of the latest owner known. A new owner is told all that is not acknowledged.
    fn accept_epoch(&mut self, message: &AssignmentMessage) -> bool {
        let Some(shard) = self.shard_mut(message.shard) else {
            return false;
        };
        if shard.epoch.is_some_and(|epoch| message.epoch < epoch) && !mutant!(StaleAssignment) {
            return false;
        }
        if shard.epoch != Some(message.epoch) {
            shard.epoch = Some(message.epoch);
            shard.tell_all_again();
            if shard.has_pending() {
                self.dirty.insert(message.shard);
            }
        }
        if let Some(shard) = self.shard_mut(message.shard) {
            shard.owner = Some(message.jobmaster);
        }
        true
    }

    fn assign(&mut self, shard: ShardId, assignment: Assignment, now: Timestamp) {
        let attempt = assignment.attempt;
        if self.shard_of(attempt) != shard {
            self.totals.dropped += 1;
            return;
        }
        if let Some(held) = self.find_mut(attempt) {
            // Sent again: its shard does not know how far it is.
            held.start_acknowledged = false;
            held.reset_repeats();
            self.tell(attempt);
            return;
        }
        let stage = Stage::Queued {
            assignment: Box::new(assignment),
            since: now,
        };
        self.hold(shard, attempt, stage);
        self.queued += 1;
        if self.is_closed() {
            self.end(attempt, Outcome::HandedBack);
        } else {
            self.queue.push_back(attempt);
        }
    }

    fn hold(&mut self, shard: ShardId, attempt: AttemptRef, stage: Stage) {
        if let Some(shard) = self.shard_mut(shard) {
            shard.attempts.insert(attempt, Held::new(stage));
        }
    }

    fn cancel(&mut self, shard: ShardId, attempt: AttemptRef, outputs: &mut Vec<Output>) {
        if self.answer_if_not_running(shard, attempt, "it was cancelled before it started") {
            return;
        }
        if let Some(held) = self.find_mut(attempt) {
            // Whatever was ending it already: what its shard wants counts.
            if held.ending.replace(Ending::Cancelled).is_none() {
                outputs.push(Output::Cancel { attempt });
            }
        }
    }

    fn stop(&mut self, shard: ShardId, attempt: AttemptRef, outputs: &mut Vec<Output>) {
        if !self.answer_if_not_running(shard, attempt, "it was stopped before it started") {
            outputs.push(Output::Stop { attempt });
        }
    }

    /// Says how the attempt ended, or ends it if it waits, or says that it is not held, so that its shard can close it.
    fn answer_if_not_running(&mut self, shard: ShardId, attempt: AttemptRef, message: &str) -> bool {
        if self.shard_of(attempt) != shard {
            self.totals.dropped += 1;
            return true;
        }
        let killed = |message: &str| Outcome::Failed {
            failure: Failure::new(FailureReason::Killed, message),
        };
        match self.find_mut(attempt) {
            None => {
                self.hold(shard, attempt, Stage::Ended(killed("its worker does not hold it")));
                self.unacknowledged += 1;
                self.tell(attempt);
                true
            }
            Some(held) => match held.stage {
                Stage::Queued { .. } => {
                    self.end(attempt, killed(message));
                    true
                }
                Stage::Running { .. } => false,
                Stage::Ended(_) => {
                    held.reset_repeats();
                    self.tell(attempt);
                    true
                }
            },
        }
    }

    fn acknowledged(&mut self, shard: ShardId, kind: ReportKind, attempt: AttemptRef) {
        let Some(shard) = self.shard_mut(shard) else { return };
        let Some(held) = shard.attempts.get_mut(&attempt) else {
            return;
        };
        match kind {
            ReportKind::Started => held.start_acknowledged = true,
            ReportKind::Ended => {
                if held.is_ended() {
                    shard.attempts.remove(&attempt);
                    self.unacknowledged -= 1;
                }
            }
        }
    }

    pub(super) fn started(&mut self, attempt: AttemptRef) {
        let Some(held) = self.find_mut(attempt) else { return };
        if let Stage::Running {
            started: started @ false,
        } = &mut held.stage
        {
            *started = true;
            held.reset_repeats();
            self.tell(attempt);
        }
    }

    pub(super) fn ended(&mut self, attempt: AttemptRef, outcome: Outcome, now: Timestamp) {
        let Some(held) = self.find(attempt) else { return };
        if !matches!(held.stage, Stage::Running { .. }) {
            return;
        }
        let outcome = held.judge(outcome);
        if outcome != Outcome::HandedBack {
            self.pace.ended(now);
        }
        self.end(attempt, outcome);
    }

    /// From waiting or running to ended.
    fn end(&mut self, attempt: AttemptRef, outcome: Outcome) {
        match outcome {
            Outcome::Completed { .. } => self.totals.completed += 1,
            Outcome::Failed { .. } => self.totals.failed += 1,
            Outcome::HandedBack => self.totals.handed_back += 1,
        }
        let Some(held) = self.find_mut(attempt) else { return };
        let before = std::mem::replace(&mut held.stage, Stage::Ended(outcome));
        held.reset_repeats();
        match before {
            Stage::Queued { .. } => self.queued -= 1,
            Stage::Running { .. } => self.running -= 1,
            Stage::Ended(_) => return,
        }
        self.unacknowledged += 1;
        self.tell(attempt);
    }

    /// Starts what waits, oldest first, while there are slots.
    pub(super) fn fill_slots(&mut self, outputs: &mut Vec<Output>) {
        while self.queued > 0 && self.running < self.options.slots && !self.is_closed() {
            let Some(attempt) = self.queue.pop_front() else { return };
            let Some(held) = self.find_mut(attempt) else { continue };
            if !matches!(held.stage, Stage::Queued { .. }) {
                continue;
            }
            let before = std::mem::replace(&mut held.stage, Stage::Running { started: false });
            if let Stage::Queued { assignment, .. } = before {
                let shard = self.shard_of(attempt);
                let epoch = self.shard(shard).and_then(|shard| shard.epoch).unwrap_or_default();
                self.queued -= 1;
                self.running += 1;
                self.totals.started += 1;
                outputs.push(Output::Start { assignment, epoch });
            }
        }
    }

    pub(super) fn oldest_queued(&self) -> Option<Timestamp> {
        match self.find(*self.queue.front()?)?.stage {
            Stage::Queued { since, .. } => Some(since),
            Stage::Running { .. } | Stage::Ended(_) => None,
        }
    }

    /// Gives back what has waited too long for a slot, and clears the front of the queue.
    pub(super) fn hand_back_old(&mut self, now: Timestamp) {
        while let Some(attempt) = self.queue.front().copied() {
            let since = self.oldest_queued();
            if since.is_some_and(|since| now.since(since) < self.options.handback_after) {
                return;
            }
            self.queue.pop_front();
            if since.is_some() {
                self.end(attempt, Outcome::HandedBack);
            }
        }
    }

    pub(super) fn hand_back_all(&mut self) {
        for attempt in std::mem::take(&mut self.queue) {
            if self
                .find(attempt)
                .is_some_and(|held| matches!(held.stage, Stage::Queued { .. }))
            {
                self.end(attempt, Outcome::HandedBack);
            }
        }
    }

    /// Ends all that runs and is not being ended already.
    pub(super) fn end_running(&mut self, ending: Ending, outputs: &mut Vec<Output>) {
        for shard in &mut self.shards {
            for (attempt, held) in &mut shard.attempts {
                if matches!(held.stage, Stage::Running { .. }) && held.ending.is_none() {
                    held.ending = Some(ending);
                    outputs.push(Output::Cancel { attempt: *attempt });
                }
            }
        }
    }
}
