//! The worker itself: registered, heard or cut off, draining, leaving.

use super::attempt::Ending;
use super::liveness::Contact;
use super::{ExitReason, LEAVE_PATIENCE, Output, Phase, WorkerMachine};
use crate::domain::{Standing, Timestamp};
use crate::event::Beat;

impl WorkerMachine {
    pub(super) fn beat(&mut self, beat: &Beat, now: Timestamp, outputs: &mut Vec<Output>) {
        match beat.timeline() {
            // The log was restored from a backup: what this process was given has not happened there.
            Some(timeline) if timeline > self.identity.timeline => return self.exit(ExitReason::Restored, outputs),
            Some(timeline) if timeline < self.identity.timeline => return,
            Some(_) | None => {}
        }
        match beat {
            Beat::Jobmaster(beat) => self.credits.beat(beat, self.identity.incarnation, now),
            Beat::Worker(beat) => {
                if beat.worker == self.identity.worker && beat.incarnation > self.identity.incarnation {
                    self.exit(ExitReason::Superseded, outputs);
                }
            }
        }
    }

    /// Ends the attempts while nobody hears the worker: in time to be dead before others may place them again.
    pub(super) fn check_contact(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        match self.liveness.contact(now) {
            Contact::Heard => {
                self.changed |= self.fading;
                self.fading = false;
            }
            Contact::Fading => {
                if !self.fading {
                    self.fading = true;
                    self.hand_back_all();
                    self.end_running(Ending::CutOff, outputs);
                }
            }
            Contact::CutOff => self.exit(ExitReason::CutOff, outputs),
        }
    }

    /// Its shard says how it stands.
    pub(super) fn told_standing(&mut self, standing: Standing, now: Timestamp) {
        if standing == self.standing {
            return;
        }
        self.standing = standing;
        // Jobmasters read it in the heartbeats.
        self.changed = true;
        if self.is_closed() {
            self.hand_back_all();
        }
        if standing.draining {
            self.drain(now);
        }
    }

    pub(super) fn drain(&mut self, now: Timestamp) {
        if self.phase != Phase::Serving {
            return;
        }
        let kill_at = now + self.options.drain_grace;
        let leave_at = kill_at + self.options.grace + LEAVE_PATIENCE;
        self.phase = Phase::Draining {
            kill_at: Some(kill_at),
            leave_at,
        };
        self.changed = true;
        self.hand_back_all();
    }

    /// Ends what still runs at the deadline; leaves when all is told.
    pub(super) fn advance_drain(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        match self.phase {
            Phase::Serving | Phase::Gone => {}
            Phase::Draining { kill_at, leave_at } => {
                if kill_at.is_some_and(|kill_at| kill_at <= now) {
                    self.phase = Phase::Draining {
                        kill_at: None,
                        leave_at,
                    };
                    self.end_running(Ending::Drained, outputs);
                }
                let all_told = self.running == 0 && self.queued == 0 && self.unacknowledged == 0;
                if all_told || leave_at <= now {
                    self.phase = Phase::Leaving {
                        until: now + LEAVE_PATIENCE,
                    };
                    self.say_goodbye(now, outputs);
                }
            }
            Phase::Leaving { until } => {
                if until <= now {
                    self.exit(ExitReason::Drained, outputs);
                }
            }
        }
    }

    pub(super) fn exit(&mut self, reason: ExitReason, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Gone {
            return;
        }
        self.end_running(Ending::CutOff, outputs);
        self.phase = Phase::Gone;
        self.queue.clear();
        self.repeats.clear();
        self.dirty.clear();
        self.shards
            .iter_mut()
            .for_each(|shard| *shard = super::Shard::default());
        (self.running, self.queued, self.unacknowledged) = (0, 0, 0);
        outputs.push(Output::Exit { reason });
    }
}
