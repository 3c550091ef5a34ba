//! A job from its events: the one way, for loading as for verifying.

use crate::domain::{Event, Fact, Job, JobId, Position, Seq};
use crate::event::Meta;

use super::stored::StoredEvent;

/// A job while its events are taken in, in the order of the log.
#[derive(Debug)]
pub struct JobFold {
    job: Option<Job>,
    /// Up to where events are in it.
    seen: Seq,
    unreadable: Option<(Position, String)>,
}

impl JobFold {
    /// Nothing is known of it yet.
    pub const fn empty() -> Self {
        Self {
            job: None,
            seen: Seq(0),
            unreadable: None,
        }
    }

    /// As of a snapshot; events up to there are passed over.
    pub const fn of(job: Job, seen: Seq) -> Self {
        Self {
            job: Some(job),
            seen,
            unreadable: None,
        }
    }

    /// Takes in the next event. After one that cannot be taken in, nothing more is.
    pub fn take(&mut self, id: JobId, stored: &StoredEvent) {
        if stored.position.seq <= self.seen || self.unreadable.is_some() {
            return;
        }
        self.seen = stored.position.seq;
        if let Err(why) = self.try_take(id, stored) {
            self.unreadable = Some((stored.position, why));
        }
    }

    fn try_take(&mut self, id: JobId, stored: &StoredEvent) -> Result<(), String> {
        let header = stored.header().map_err(|error| error.to_string())?;
        let event = header.event().map_err(|error| error.to_string())?;
        self.apply(id, stored, &header.meta(), &event)
    }

    /// As [`JobFold::take`] for an event that was read already; says why it is not legal.
    pub fn apply(&mut self, id: JobId, stored: &StoredEvent, meta: &Meta, event: &Event) -> Result<(), String> {
        self.seen = stored.position.seq;
        let fact = Fact {
            task: stored.task(),
            version: stored.version,
            at: meta.at,
            command: meta.command,
            event,
        };
        match (&mut self.job, event) {
            (Some(job), _) => job.apply(fact).map_err(|error| error.to_string()),
            (None, Event::JobSubmitted(submitted)) if stored.task() == 0 && stored.version == 1 => {
                self.job = Some(Job::submitted(id, submitted, meta.at, meta.command));
                Ok(())
            }
            (None, _) => Err(format!("{} comes before the job's first event", event.type_name())),
        }
    }

    pub const fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    pub const fn seen(&self) -> Seq {
        self.seen
    }

    /// The job; `None` when there was no event; or where and why it could not be folded.
    pub fn finish(self) -> Result<Option<Job>, (Position, String)> {
        match self.unreadable {
            Some(unreadable) => Err(unreadable),
            None => Ok(self.job),
        }
    }
}
