//! Messages that cannot be taken in: how they are recognised, counted and answered.
//!
//! Must stay true: the cursor passes such a message only when the quarantine has it; whoever waits for its answer is
//! told, after the commit that passes it.

use bytes::Bytes;

use super::host::Host;
use super::machine::{Input, Shard, Taken};
use crate::domain::{Refusal, RefusalCode, ShardId};
use crate::event::{CommandMessage, ReplyAddress, ReportMessage, Rescued, Unreadable, Wire};
use crate::log::{Error, Poison, QuarantineSource};

/// How often a message may fail before it is passed over.
pub(super) const MOST_FAILURES: u32 = 3;

/// A message that a turn or a commit is about.
#[derive(Clone, Debug)]
pub(super) struct Culprit {
    pub source: QuarantineSource,
    pub offset: i64,
    pub payload: Bytes,
}

impl Culprit {
    /// The command that had waited for its job, when one is to blame.
    pub fn unparked(machine: &Shard) -> Option<Self> {
        machine.failed_command().map(|(offset, message)| Self {
            source: QuarantineSource::Command,
            offset,
            payload: message.encode(),
        })
    }

    pub fn is_command(&self) -> bool {
        self.source == QuarantineSource::Command
    }

    /// The message as the machine takes it.
    pub fn read(&self, host: &Host, shard: ShardId) -> Result<Input, Unreadable> {
        let offset = self.offset;
        if !self.is_command() {
            return ReportMessage::decode(&self.payload).map(|message| Input::Report { offset, message });
        }
        let message = CommandMessage::decode(&self.payload)?;
        let home = message.command.shard(host.shards);
        if home != shard {
            let why = format!("it belongs to shard {home}, and came to shard {shard}");
            return Err(Unreadable { what: "command", why });
        }
        Ok(Input::Command { offset, message })
    }

    /// The turn that passes it over.
    pub fn passed(&self, why: &str) -> Input {
        let offset = self.offset;
        if !self.is_command() {
            return Input::PassReport { offset };
        }
        let refuse = |to: ReplyAddress| (to, Refusal::new(RefusalCode::Quarantined, why));
        let answer = Rescued::of(&self.payload).reply_to.map(refuse);
        Input::PassCommand { offset, answer }
    }

    /// Counts a failure durably; the `most`-th sets it aside.
    pub async fn count(&self, host: &Host, shard: ShardId, reason: String, most: u32) -> Result<u32, Error> {
        let principal = if self.is_command() {
            Rescued::of(&self.payload).principal
        } else {
            String::new()
        };
        let poison = Poison {
            shard,
            source: self.source,
            bus: host.bus.identity().to_owned(),
            place: self.offset,
            reason,
            payload: self.payload.to_vec(),
            principal,
        };
        host.log.note_failure(poison, most).await
    }
}

/// What the caller of a command hears that failed again and again.
pub(super) const REFUSED: &str = "the command failed three times while it was decided and was set aside: nothing of it \
                                  was done; `grid events --quarantine` shows why";

/// What the caller hears of a command that cannot be read.
pub(super) fn unreadable(why: &Unreadable) -> String {
    format!("the command was set aside, and nothing of it was done: {why}")
}

/// Messages up to here are taken one a commit, so that it is known which one the log refuses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Careful(pub Taken);

impl Careful {
    pub fn covers(self, source: QuarantineSource, offset: i64) -> bool {
        match source {
            QuarantineSource::Report => offset < self.0.reports,
            QuarantineSource::Command | QuarantineSource::Event => offset < self.0.commands,
        }
    }

    #[must_use]
    pub fn and(self, taken: Taken) -> Self {
        Self(Taken {
            commands: self.0.commands.max(taken.commands),
            reports: self.0.reports.max(taken.reports),
        })
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".into())
}
