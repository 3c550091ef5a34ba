//! Where points are kept.

mod embedded;

use async_trait::async_trait;

pub use embedded::{Embedded, Keeping};

use super::point::Point;
use super::query::{Answer, Query};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store of metrics does not answer: {0}")]
    Unavailable(String),
    #[error(
        "the question needs {found} series, and {most} may be asked for at a time: name a job, task or worker, a metric, or less time"
    )]
    TooMuch { found: usize, most: usize },
}

/// Keeps points and answers questions about them.
#[async_trait]
pub trait MetricStore: Send + Sync {
    /// Keeps the points; one that is there already (same metric, tags and moment) is not kept again, so that a batch
    /// whose outcome is unknown can be given again. Gives how many were too old or too far ahead to be kept.
    ///
    /// # Errors
    /// None of them is known to be kept.
    async fn write(&self, points: &[Point]) -> Result<u64, StoreError>;

    /// Values by window. Windows without points are left out.
    ///
    /// # Errors
    /// The store does not answer in time, or would have to read too much.
    async fn query(&self, query: &Query) -> Result<Answer, StoreError>;
}
