//! The rule by which a reader of `grid.events` gets every event once and in order, wherever it begins.

use crate::bus::Message;
use crate::domain::{Epoch, Seq};

/// What a reader has to know of a message. Of one partition, which is one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// `ce_source`: the timeline of the log.
    pub source: String,
    pub epoch: Epoch,
    pub position: Seq,
    /// The position of the event before it that still existed when it was published; 0: none.
    pub previous: Seq,
}

/// A message without the headers of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no event of the log: header {0} is missing or no number")]
pub struct NotAnEvent(pub &'static str);

impl Incoming {
    pub fn read(message: &Message) -> Result<Self, NotAnEvent> {
        let text = |name: &'static str| {
            let value = message.header(name).ok_or(NotAnEvent(name))?;
            std::str::from_utf8(value).map_err(|_| NotAnEvent(name))
        };
        let number = |name: &'static str| text(name)?.parse().map_err(|_| NotAnEvent(name));
        Ok(Self {
            source: text("ce_source")?.to_owned(),
            epoch: Epoch(number("ce_epoch")?),
            position: Seq(number("ce_position")?),
            previous: Seq(number("ce_prevposition")?),
        })
    }
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Apply,
    /// Known already, or sent by somebody who does not own the shard any more.
    Skip,
    /// Something before it is missing and is being published again, and so will this be: pass it over.
    Wait,
    /// The log was restored from a backup: forget everything of this shard, then apply.
    StartOver,
}

/// A reader's memory of one partition. Store it together with what the events made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerRule {
    seen: Option<Seen>,
    /// Does not begin in the middle.
    whole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    source: String,
    epoch: Epoch,
    have: Seq,
}

impl ConsumerRule {
    /// Wants everything: it begins with an event that nothing comes before, and passes over what stands in front of it in
    /// a topic that is being filled anew.
    pub const fn whole() -> Self {
        Self {
            seen: None,
            whole: true,
        }
    }

    /// Goes on where an earlier reader stopped.
    pub const fn resume(source: String, epoch: Epoch, have: Seq) -> Self {
        Self {
            seen: Some(Seen { source, epoch, have }),
            whole: true,
        }
    }

    /// The position of the last event that was applied.
    pub fn have(&self) -> Option<Seq> {
        self.seen.as_ref().map(|seen| seen.have)
    }

    /// Judges the next message of the partition, and remembers it when it is to be applied.
    pub fn see(&mut self, incoming: &Incoming) -> Verdict {
        let Some(seen) = &mut self.seen else {
            if self.whole && incoming.previous != Seq(0) {
                return Verdict::Wait;
            }
            self.seen = Some(Seen::base(incoming));
            return Verdict::Apply;
        };
        if incoming.epoch < seen.epoch {
            return Verdict::Skip;
        }
        if incoming.source != seen.source {
            *seen = Seen::base(incoming);
            return Verdict::StartOver;
        }
        let first_of_epoch = incoming.epoch > seen.epoch;
        seen.epoch = incoming.epoch;
        if incoming.position <= seen.have {
            return Verdict::Skip;
        }
        // A gap at the first message of an epoch will not be filled: only who began in the middle sees that.
        if incoming.previous > seen.have && !first_of_epoch {
            return Verdict::Wait;
        }
        seen.have = incoming.position;
        Verdict::Apply
    }
}

impl Seen {
    fn base(incoming: &Incoming) -> Self {
        Self {
            source: incoming.source.clone(),
            epoch: incoming.epoch,
            have: incoming.position,
        }
    }
}
