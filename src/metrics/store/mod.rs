//! Where points are kept.

mod embedded;
mod influx;

use async_trait::async_trait;

pub use embedded::Embedded;
pub use influx::Influx;

use super::options::MetricsOptions;
use super::point::Point;
use super::query::{Answer, Query};
use crate::domain::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// How long points are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    pub raw_days: i32,
    pub rollup_days: i32,
}

impl Keeping {
    pub fn of(options: &MetricsOptions) -> Self {
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX).max(1);
        Self {
            raw_days: days(options.raw_days),
            rollup_days: days(options.rollup_days).max(days(options.raw_days)),
        }
    }

    /// Every point since then is there.
    pub fn raw_from(self, now: Timestamp) -> Timestamp {
        Timestamp::from_ms(i64::from(now.day() - self.raw_days) * DAY_MS)
    }

    /// Points that are neither too old nor of days to come, and how many values the others have.
    pub(super) fn sift(self, points: &[Point], now: Timestamp) -> (Vec<&Point>, u64) {
        let days = now.day() - self.raw_days..=now.day() + 1;
        let (kept, others): (Vec<&Point>, Vec<&Point>) =
            points.iter().partition(|point| days.contains(&point.at.day()));
        let left_out = others.iter().map(|point| point.values().len() as u64).sum();
        (kept, left_out)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store of metrics does not answer: {0}")]
    Unavailable(String),
    #[error("the store of metrics refuses the points: {0}")]
    Refused(String),
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

    /// Where points are.
    fn place(&self) -> &'static str {
        "postgres"
    }

    /// Removes the points of a job for ever. Those in Postgres go with what else of the job is there.
    ///
    /// # Errors
    /// Some may be left; it can be done again.
    async fn erase(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
