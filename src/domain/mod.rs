//! The domain: jobs, tasks, workers, retry and status as pure, synchronous decide and apply.
//!
//! Must stay true: nothing here reads a clock, a random source, a file or the network; time and randomness come in as
//! arguments; nothing here imports another module of this crate.

mod id;
mod spec;
mod time;

pub use id::{Attempt, Epoch, IdError, Incarnation, JobId, Position, Seq, ShardId, TaskId, WorkerName};
pub use spec::{
    ExecutorKind, GroupIndex, JobSpec, Labels, MAX_TASKS_PER_JOB, Policy, RetryPolicy, TaskGroup, TaskPlace, Timeouts,
};
pub use time::Timestamp;
