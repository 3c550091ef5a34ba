//! Which items a list holds, and in which order.
//!
//! Must stay true: what REST refuses in its parameters is refused here, with the same codes; no text reaches the database
//! that it has no room for.

mod job;
mod task;
mod worker;

pub use job::{JobFilter, JobOrder};
pub use task::{TaskFilter, TaskOrder};
pub use worker::{WorkerFilter, WorkerOrder};

use async_graphql::Enum;

use super::fault::Answer;
use super::scalar::DateTime;
use crate::api::params::{few_enough, fit_for_filter};
use crate::api::problem::Problem;
use crate::projection::{Direction, LabelFilter, LabelPair, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum SortDirection {
    Asc,
    Desc,
}

impl From<SortDirection> for Direction {
    fn from(direction: SortDirection) -> Self {
        match direction {
            SortDirection::Asc => Self::Asc,
            SortDirection::Desc => Self::Desc,
        }
    }
}

/// The values of one part of a filter.
fn values<T>(name: &str, given: Option<Vec<T>>) -> Answer<Vec<T>> {
    let given = given.unwrap_or_default();
    few_enough(name, &given)?;
    Ok(given)
}

/// As [`values`], of texts.
fn texts(name: &str, given: Option<Vec<String>>) -> Answer<Vec<String>> {
    let given = given.unwrap_or_default();
    fit_for_filter(name, &given)?;
    Ok(given)
}

fn labels(given: Option<Vec<String>>) -> Answer<LabelFilter> {
    let label = |text: String| {
        let pair = text.parse::<LabelPair>();
        pair.map_err(|error| Problem::bad_parameter("labels", format!("{text:?}: {error}")).into())
    };
    texts("labels", given)?.into_iter().map(label).collect()
}

fn created(from: Option<DateTime>, to: Option<DateTime>) -> Answer<Span> {
    let span = Span::between(from.map(|at| at.0), to.map(|at| at.0));
    span.map_err(|error| Problem::bad_parameter("createdTo", error.to_string()).into())
}
