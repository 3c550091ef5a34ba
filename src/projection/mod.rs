//! Read models: what REST, GraphQL and the page read, kept in step with the log.
//!
//! Must stay true: read models hold nothing that the log does not; rows and the cursor that says how far they are move
//! together or not at all; an event moves the same rows whether it is fed as it is committed, read from the log after a
//! gap, or read again for a rebuild.

mod actor;
mod change;
mod columns;
mod log_pages;
mod machine;
mod options;
mod position;
mod read;
mod rebuild;
mod retire;
mod verify;
mod watermark;
mod writer;

#[cfg(test)]
mod tests;

pub use actor::{LogError, LogPages, Progress, ProjectorHandle, ProjectorParts};
pub use change::storable_failure;
pub use machine::{Feed, LogPage, Machine, Move, Want, WriteSet, Written};
pub use options::ProjectionOptions;
pub use position::{PositionError, PositionToken, from_base64url, to_base64url};
pub use read::{
    Among, At, AttemptRow, Direction, Hit, JobFilter, JobKey, JobOrder, JobRow, JobSort, LabelError, LabelFilter,
    LabelPair, Matched, Order, OrderError, Overview, Plan, Reading, RetriesFrom, RetryKey, Slice, SortField, Span,
    SpanError, Start, TaskFilter, TaskKey, TaskListError, TaskOrder, TaskRange, TaskRow, TaskSort, WorkerFilter,
    WorkerKey, WorkerOrder, WorkerRow, WorkerSort,
};
pub use rebuild::{RebuildError, Rebuilt, rebuild};
pub use retire::{delete_in_pages, forget_jobs};
pub use verify::ReadModelCheck;
pub use watermark::{Lagging, Watermarks};
pub use writer::{LIVE_SCHEMA, Writer};
