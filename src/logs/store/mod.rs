//! Where lines are kept and found.
//!
//! Must stay true of each store: a batch that is given twice is shown once; a search gives what its filter means, in
//! the order asked for, and goes on behind any line; who follows is given every line once, in the order in which they were taken in.

mod embedded;
mod victoria;

pub use embedded::Embedded;
pub use victoria::Victoria;

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::line::Line;
use super::logsql::QueryError;
use super::question::Question;

/// Lines of one worker process, numbered from 1 without a gap.
#[derive(Clone, Debug)]
pub struct Batch {
    pub incarnation: Uuid,
    pub number: u64,
    pub lines: Vec<Line>,
    /// The worker gives them to a Vector as well.
    pub to_vector: bool,
}

/// Where a line stands: by time, then by what its store orders lines of one time by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub at_ms: i64,
    pub id: i64,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    pub question: Question,
    /// Inclusive, in milliseconds since 1970.
    pub from_ms: i64,
    pub to_ms: i64,
    pub order: Order,
    /// Only what comes after this line in the order.
    pub beyond: Option<Key>,
    /// Of lines; a page may have fewer, when they are long.
    pub limit: u32,
}

/// Which lines come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredLine {
    pub key: Key,
    pub line: Line,
}

/// Some of the lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub lines: Vec<StoredLine>,
    /// Whether there are others.
    pub more: bool,
}

/// Why a store does not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It cannot be read, in the words of the store.
    #[error("{0}")]
    Invalid(String),
    /// The regular expression, or another part of the query, is refused by the store itself.
    #[error("the store refuses the query: {0}")]
    Refused(String),
    #[error("the search took longer than {0:?}: name a job or a task, or less time")]
    TooLong(Duration),
    #[error("the store of lines does not answer: {0}")]
    Unavailable(String),
    /// Lines cannot be removed there; what to do about it.
    #[error("{0}")]
    CannotErase(String),
}

/// A store of lines.
#[async_trait]
pub trait LogStore: Send + Sync {
    /// Keeps a batch, once.
    async fn add(&self, batch: Batch) -> Result<(), StoreError>;

    /// Whether it can answer the question, before it is asked for lines.
    async fn check(&self, question: &Question) -> Result<(), StoreError>;

    /// Finds lines.
    async fn search(&self, search: &Search) -> Result<Page, StoreError>;

    /// Behind the last line that following gives: where it begins when what comes is wanted.
    async fn head(&self) -> Result<Key, StoreError>;

    /// At most `limit` lines that were taken in after `after`, in that order, and where to go on, which may be behind
    /// lines that are not asked for.
    async fn after(&self, question: &Question, after: Key, limit: u32) -> Result<(Page, Key), StoreError>;

    /// At most `limit` lines of the worker behind a position, by their positions, which they have.
    async fn of_worker(&self, question: &Question, worker_id: &str, after: i64, limit: u32)
    -> Result<Page, StoreError>;

    /// Where lines are, once it is sure that those of a job can be removed there.
    async fn can_erase(&self) -> Result<&'static str, StoreError>;

    /// Removes the lines of a job for ever. Those in Postgres go with what else of the job is there.
    async fn erase(&self, job_id: &str) -> Result<(), StoreError>;

    /// How long a line that was taken in is on its way until it is found.
    fn lag(&self) -> Duration;

    /// Returns when there may be lines after this one, or when it is time to look.
    async fn changed(&self, after: Key);
}
