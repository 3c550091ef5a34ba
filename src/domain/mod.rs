//! The domain: jobs, tasks, workers, retry and status as pure, synchronous decide and apply.
//!
//! Must stay true: nothing here reads a clock, a random source, a file or the network; time and randomness come in as
//! arguments; nothing here imports another module of this crate.

mod decide;
pub mod event;
mod id;
mod job;
mod ready;
mod refusal;
mod requests;
mod snapshot;
mod spec;
mod status;
mod task;
mod task_history;
mod time;
mod worker;

#[cfg(test)]
mod tests;

pub use decide::{AttemptOutcome, Decision, LOSS_BUDGET, LossCause, MOST_FREE_RETURNS};
pub use event::{Event, Failure, FailureReason, StreamId, TaskState};
pub use id::{Attempt, Epoch, IdError, Incarnation, JobId, Position, Seq, ShardId, TaskId, WorkerName};
pub use job::{Fact, FanOut, FanOutKind, Job, REMEMBERED_COMMANDS};
pub use ready::NextReady;
pub use refusal::{Refusal, RefusalCode};
pub use requests::{JobRequests, Request};
pub use snapshot::{SNAPSHOT_SCHEMA, SnapshotError};
pub use spec::{
    ExecutorKind, GroupIndex, JobSpec, Labels, MAX_TASKS_PER_JOB, Policy, RetryPolicy, TaskGroup, TaskPlace, Timeouts,
    has_labels,
};
pub use status::{Counters, JobStatus};
pub use task::{IllegalTransition, TaskRecord};
pub use task_history::{AttemptTold, TaskHistory};
pub use time::Timestamp;
pub use worker::{Registration, Standing, WorkerHistory};
