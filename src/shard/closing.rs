//! Closing days: once nothing of their jobs is under way, nothing is added to them any more, so that retention may take
//! them.
//!
//! Must stay true: a day that is closed stays closed; a shard closes days only while every job of them is at rest, and
//! from the turn in which it does, commands on these jobs are refused and no event falls into these days.

use std::sync::Arc;

use actix::prelude::*;
use tokio::task::JoinHandle;

use super::host::Host;
use super::machine::Shard;
use crate::domain::{Job, JobId, Refusal, RefusalCode, Timestamp};
use crate::log::Holders;

/// Somebody wants the days before this one (since 1970) closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct CloseDays(pub i32);

impl Message for CloseDays {
    type Result = ();
}

/// A task that hears of wishes to close days, and tells the shards of this process; it ends with this.
pub(super) struct Hearing(JoinHandle<()>);

impl Hearing {
    pub fn start(host: &Arc<Host>) -> Self {
        let (log, host) = (host.log.clone(), Arc::downgrade(host));
        let wish = move |before| {
            if let Some(host) = host.upgrade() {
                host.close_days(before);
            }
        };
        Self(crate::task::spawn("hear_closing", async move {
            log.follow_closing(wish).await;
        }))
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Jobs in the way of a closing that are named; the others are counted.
const MOST_NAMED: usize = 5;

/// Which days are closed, and which shall be.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// The days before this one are closed, or will be by the batch that is staged.
    pub before: i32,
    wanted: i32,
    /// Something has changed since it was last looked whether they can be closed.
    look: bool,
    /// The next batch ends a round of snapshots, so that nothing of the closed days is only in the tail.
    pub round: bool,
    holders: Option<Holders>,
}

impl Closing {
    pub fn since(before: i32) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    pub fn covers(&self, job: JobId) -> bool {
        job.day() < self.before
    }

    /// Events of workers are of the day in which they happen: no clock that is behind may put one into a closed day.
    pub fn not_before(&self) -> Timestamp {
        Timestamp::from_ms(i64::from(self.before) * 86_400_000)
    }

    /// A job has come to rest.
    pub fn came_to_rest(&mut self, job: JobId) {
        self.look |= job.day() < self.wanted;
    }

    pub fn refuse(&self, job: JobId) -> Result<(), Refusal> {
        if !self.covers(job) {
            return Ok(());
        }
        let text = format!("the day of {job} is closed: its history is archived, or about to be, and does not change");
        Err(Refusal::new(RefusalCode::Gone, text))
    }
}

impl Shard {
    /// The days before this one (since 1970) shall be closed, as soon as that can be. Whoever asks again is answered
    /// again, by a commit.
    pub(super) fn on_close_days(&mut self, before: i32) {
        self.closing.wanted = self.closing.wanted.max(before);
        self.closing.look = true;
        if self.closing.before >= before {
            // How far the events are published stands in the shard's row only after a commit.
            self.staged.cursor_only = true;
            self.closing.round = true;
        }
    }

    /// At the end of a turn: closes what is to be closed, or finds what stands in the way.
    pub(super) fn close_days(&mut self) {
        if !std::mem::take(&mut self.closing.look) || self.closing.wanted <= self.closing.before {
            return;
        }
        let wanted = self.closing.wanted;
        let mut holders: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.id().day() < wanted && !job.is_at_rest())
            .map(Job::id)
            .collect();
        if holders.is_empty() {
            self.closing.before = wanted;
            self.closing.round = true;
            self.closing.holders = None;
            self.staged.cursor_only = true;
            self.last_at = self.last_at.max(self.closing.not_before());
            return;
        }
        holders.sort_unstable();
        self.closing.holders = Some(Holders {
            close_before: wanted,
            total: holders.len() as u64,
            first: holders.into_iter().take(MOST_NAMED).collect(),
        });
    }

    /// What stands in the way of a closing, when that has been found anew.
    pub fn take_holders(&mut self) -> Option<Holders> {
        self.closing.holders.take()
    }

    /// The days before this one (since 1970) are closed.
    pub const fn closed_before(&self) -> i32 {
        self.closing.before
    }
}
