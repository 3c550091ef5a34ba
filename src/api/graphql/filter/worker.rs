//! Which workers a list holds, and in which order.

use async_graphql::{Enum, InputObject};

use super::{SortDirection, created, labels, values};
use crate::api::graphql::fault::Answer;
use crate::api::graphql::scalar::DateTime;
use crate::api::workers::WorkersAsked;
use crate::projection::{WorkerFilter as Filter, WorkerOrder as Order, WorkerSort as Sort};
use crate::shard::Liveness;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::shard::Liveness")]
pub enum WorkerState {
    Active,
    /// It has left, or is not heard of any more.
    Inactive,
    /// Registered, and not heard of yet.
    Pending,
}

/// Which workers: every part must hold; of several values in one part one is enough.
#[derive(Default, InputObject)]
pub struct WorkerFilter {
    /// At the moment.
    states: Option<Vec<WorkerState>>,
    /// As `name=value` or `name:value`.
    labels: Option<Vec<String>>,
    /// First registered at this time or later.
    created_from: Option<DateTime>,
    /// First registered before this time.
    created_to: Option<DateTime>,
    /// At least as new as this token.
    pub min_position: Option<String>,
}

impl WorkerFilter {
    /// # Errors
    /// 400 for what is no label, too many values, or a span that ends before it begins.
    pub fn read(self) -> Answer<WorkersAsked> {
        let states = values("states", self.states)?;
        Ok(WorkersAsked {
            filter: Filter {
                labels: labels(self.labels)?,
                created: created(self.created_from, self.created_to)?,
            },
            states: states.into_iter().map(Liveness::from).collect(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum WorkerSort {
    /// The first registration.
    CreatedAt,
    /// By code points.
    WorkerId,
}

/// In which order; equal ones by their ids.
#[derive(InputObject)]
pub struct WorkerOrder {
    by: WorkerSort,
    direction: SortDirection,
}

impl From<WorkerOrder> for Order {
    fn from(order: WorkerOrder) -> Self {
        Self {
            by: match order.by {
                WorkerSort::CreatedAt => Sort::CreatedAt,
                WorkerSort::WorkerId => Sort::WorkerId,
            },
            direction: order.direction.into(),
        }
    }
}
