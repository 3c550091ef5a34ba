//! Events, commands, reports, assignments, heartbeats and replies as versioned data.
//!
//! Must stay true: what was ever written can be read for ever (golden samples in the tests); unknown fields are
//! tolerated, an unknown version is refused with a message that says so.

mod assignment;
mod beat;
mod command;
mod envelope;
mod report;
mod version;

#[cfg(test)]
mod tests;

pub use assignment::{Assignment, AssignmentItem, AssignmentMessage, AttemptRef, ReportKind};
pub use beat::{Beat, Grant, JobmasterBeat, ReturnedCredits, WorkerBeat};
pub use command::{Accepted, Command, CommandMessage, Reply, ReplyAddress, Rescued};
pub use envelope::{EVENT_VERSION, EventHeader, EventRecord, Meta};
pub use report::{Outcome, ReportItem, ReportMessage};
pub use version::{Unreadable, Version, Wire};
