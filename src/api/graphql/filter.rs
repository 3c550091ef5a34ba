//! Which items a list holds, and in which order.

use std::collections::BTreeSet;

use async_graphql::{Enum, InputObject};

use super::fault::Answer;
use super::scalar::DateTime;
use crate::api::problem::Problem;
use crate::domain::JobStatus as Status;
use crate::projection::{Direction, JobFilter as Filter, JobOrder as Order, JobSort as Sort, LabelPair, Span};

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
    /// 400 for what is no label, or a span that ends before it begins.
    pub fn read(self) -> Answer<Filter> {
        let label = |text: String| {
            let pair = text.parse::<LabelPair>();
            pair.map_err(|error| Problem::bad_parameter("labels", format!("{text:?}: {error}")))
        };
        let (from, to) = (self.created_from.map(|at| at.0), self.created_to.map(|at| at.0));
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(Problem::bad_parameter("createdTo", "expected a time after createdFrom").into());
        }
        let statuses = self.statuses.unwrap_or_default().into_iter().map(Status::from);
        let labels = self.labels.unwrap_or_default().into_iter().map(label);
        Ok(Filter {
            ids: BTreeSet::new(),
            statuses: statuses.collect(),
            external_ids: self.external_ids.unwrap_or_default().into_iter().collect(),
            labels: labels.collect::<Result<_, _>>()?,
            created: Span { from, to },
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum SortDirection {
    Asc,
    Desc,
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
            direction: match order.direction {
                SortDirection::Asc => Direction::Asc,
                SortDirection::Desc => Direction::Desc,
            },
        }
    }
}
