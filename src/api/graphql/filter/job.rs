//! Which jobs a list holds, and in which order.

use std::collections::BTreeSet;

use async_graphql::{Enum, InputObject};

use super::{SortDirection, created, labels, texts, values};
use crate::api::graphql::fault::Answer;
use crate::api::graphql::scalar::DateTime;
use crate::domain::JobStatus as Status;
use crate::projection::{JobFilter as Filter, JobOrder as Order, JobSort as Sort};

/// Of a job, by its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::domain::JobStatus")]
pub enum JobStatus {
    /// It has no task.
    Empty,
    /// A task is unfinished, or waits for its retry.
    Running,
    /// Every task completed.
    Completed,
    /// A task failed for another reason than a timeout or a kill, or nothing completed.
    Failed,
    /// Every task that failed ran out of time.
    Timeout,
    /// Some of each.
    Mixed,
}

/// Which jobs: every part must hold; of several values in one part one is enough.
#[derive(Default, InputObject)]
pub struct JobFilter {
    statuses: Option<Vec<JobStatus>>,
    external_ids: Option<Vec<String>>,
    /// As `name=value` or `name:value`.
    labels: Option<Vec<String>>,
    /// At this time or later.
    created_from: Option<DateTime>,
    /// Before this time.
    created_to: Option<DateTime>,
    /// At least as new as this token.
    pub min_position: Option<String>,
}

impl JobFilter {
    /// # Errors
    /// 400 for what is no label, too many values, or a span that ends before it begins.
    pub fn read(self) -> Answer<Filter> {
        let statuses = values("statuses", self.statuses)?;
        Ok(Filter {
            ids: BTreeSet::new(),
            statuses: statuses.into_iter().map(Status::from).collect(),
            external_ids: texts("externalIds", self.external_ids)?.into_iter().collect(),
            labels: labels(self.labels)?,
            created: created(self.created_from, self.created_to)?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum JobSort {
    CreatedAt,
    /// Unfinished ones as if they were to finish last.
    FinishedAt,
    /// Jobs without one first.
    ExternalId,
}

/// In which order; equal ones by their ids.
#[derive(InputObject)]
pub struct JobOrder {
    by: JobSort,
    direction: SortDirection,
}

impl From<JobOrder> for Order {
    fn from(order: JobOrder) -> Self {
        Self {
            by: match order.by {
                JobSort::CreatedAt => Sort::CreatedAt,
                JobSort::FinishedAt => Sort::FinishedAt,
                JobSort::ExternalId => Sort::ExternalId,
            },
            direction: order.direction.into(),
        }
    }
}
