//! Formats of the log: which this program knows, which is written, and what came with which.
//!
//! Must stay true: what is written is of the log's *active* format, never of this program's newest. So older programs that
//! know the active one may run beside newer ones, take over any shard, and come back, until the upgrade is finished
//! ([`finish_upgrade`](super::finish_upgrade)). Whoever makes an event or a command that an older program cannot read asks
//! here.

use std::fmt;

use crate::domain::{Event, Refusal, RefusalCode};
use crate::event::Command;

/// A format of events, hashes and keys. A program that knows one knows all before it.
///
/// 1: the first. 2: workers are cordoned and drained by events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Format(pub(super) i32);

/// The newest format that this program knows: the number at its end. As text in the executable, so that one can be asked
/// without being run (`grep -ao 'grid-log-format:[0-9]*' grid`), and so that a test of upgrades needs no second build.
#[used]
static NEWEST: [u8; MARK.len() + 4] = *b"grid-log-format:0002";
const MARK: &str = "grid-log-format:";

impl Format {
    /// What every log begins with at least.
    pub const FIRST: Self = Self(1);

    /// The newest that this program knows.
    pub fn known() -> Self {
        // Read when the program runs, not when it is compiled: it is what stands in the executable that counts.
        let newest = std::hint::black_box(&NEWEST);
        let digits = &newest[MARK.len()..];
        Self(
            digits
                .iter()
                .fold(0, |number, digit| number * 10 + i32::from(digit - b'0')),
        )
    }

    pub const fn number(self) -> i32 {
        self.0
    }

    /// The format with which an event came: it may be written once that is active.
    pub const fn of_event(event: &Event) -> Self {
        match event {
            Event::JobSubmitted(_)
            | Event::JobKillRequested(_)
            | Event::JobStopRequested(_)
            | Event::JobRetryRequested(_)
            | Event::JobDeadlineReached(_)
            | Event::FanOutAdvanced(_)
            | Event::JobFinished(_)
            | Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::TaskFailed(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_)
            | Event::WorkerRegistered(_)
            | Event::WorkerLeft(_) => Self(1),
            Event::WorkerCordoned(_) | Event::WorkerUncordoned(_) | Event::WorkerDrainRequested(_) => Self(2),
        }
    }

    /// The format with which a command came: before that is active, its shard may be an older program's, which cannot
    /// read it.
    pub const fn of_command(command: &Command) -> Self {
        match command {
            Command::SubmitJob { .. }
            | Command::KillJob { .. }
            | Command::StopJob { .. }
            | Command::RetryJob { .. }
            | Command::CancelRetry { .. }
            | Command::BringForwardRetry { .. }
            | Command::RegisterWorker { .. }
            | Command::RemoveWorker { .. } => Self(1),
            Command::CordonWorker { .. } | Command::UncordonWorker { .. } | Command::DrainWorker { .. } => Self(2),
        }
    }

    /// Whether what came with this format may be written while `active` is.
    ///
    /// # Errors
    /// The refusal for whoever wished it: the upgrade must be finished first.
    pub fn allowed_by(self, active: Self) -> Result<(), Refusal> {
        if self <= active {
            return Ok(());
        }
        let text = format!(
            "this needs format {self} of the log, and format {active} is active because older programs may still run; when \
             none does any more, `grid migrate --finish-upgrade` allows it"
        );
        Err(Refusal::new(RefusalCode::UpgradeUnfinished, text))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_with_a_format_waits_for_it() {
        assert_eq!(Format::FIRST.allowed_by(Format::FIRST), Ok(()));
        assert_eq!(Format(2).allowed_by(Format(3)), Ok(()));
        let refused = Format(2).allowed_by(Format::FIRST).unwrap_err();
        assert_eq!(refused.code, RefusalCode::UpgradeUnfinished);
        assert!(refused.message.contains("--finish-upgrade"), "{refused}");
    }

    #[test]
    fn the_executable_says_which_format_is_the_newest() {
        assert_eq!(Format::known(), Format(2));
        assert_eq!(&NEWEST[..MARK.len()], MARK.as_bytes());
    }
}
