//! Shards: the one place where jobs are decided. A shard hosts its jobs, takes one message a turn, and lets nothing
//! leave before the commit.

mod credits;
mod directory;
mod machine;
mod messages;
mod ready;
mod staging;
mod timers;
mod turn;

pub use credits::{CreditPool, Hunger, Wanted};
pub use directory::{Directory, DirectoryOptions, LiveWorker, Liveness};
pub use machine::{Input, Loaded, Observed, Poisoned, Shard, ShardOptions, WorkerGone};
pub use staging::{Batch, Cursor, JobSnapshot, Output};
pub use timers::{Timer, Timers};
