//! Shards: the one place where jobs are decided. A shard hosts its jobs, takes one message a turn, and lets nothing
//! leave before the commit.

mod actor;
mod beats;
mod clocks;
mod closing;
mod credits;
mod directory;
mod gauges;
mod host;
mod machine;
mod messages;
mod opening;
mod options;
mod outbox;
mod placing;
mod poison;
mod ready;
mod staging;
mod standings;
mod supervisor;
mod timers;
mod traces;
mod turn;

#[cfg(test)]
mod tests;

pub use beats::WorkerDirectory;
pub use credits::{CreditPool, Hunger, Wanted};
pub use directory::{Directory, DirectoryOptions, LiveWorker, Liveness};
pub use host::{Committed, Followers, Host, HostParts};
pub use machine::{Input, Loaded, Observed, Poisoned, Shard, ShardOptions, Taken, WorkerGone};
pub use options::JobmasterOptions;
pub use outbox::Letters;
pub use placing::{Candidate, Placing};
pub use staging::{Batch, JobSnapshot, Output, WorkerAnswer};
pub use supervisor::{Supervisor, SupervisorHandle};
pub use timers::{Timer, Timers};
