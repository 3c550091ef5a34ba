//! Which tasks a list holds, and in which order.

use async_graphql::{Enum, ID, InputObject};

use super::{SortDirection, created, labels, texts, values};
use crate::api::graphql::fault::Answer;
use crate::api::graphql::scalar::DateTime;
use crate::api::problem::Problem;
use crate::domain::event::TaskState as State;
use crate::domain::{JobId, WorkerName};
use crate::projection::{TaskFilter as Filter, TaskOrder as Order, TaskSort as Sort};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::domain::event::TaskState")]
pub enum TaskState {
    Ready,
    Scheduled,
    Running,
    Completed,
    /// Also while it waits for its retry.
    Failed,
}

/// Which tasks: every part must hold; of several values in one part one is enough.
#[derive(Default, InputObject)]
pub struct TaskFilter {
    /// Of this job only.
    job_id: Option<ID>,
    states: Option<Vec<TaskState>>,
    /// Of the present attempt, or of the last one.
    worker_ids: Option<Vec<ID>>,
    /// Of one with replicas, its name in the document or that of the replica.
    external_ids: Option<Vec<String>>,
    /// Of the job, as `name=value` or `name:value`.
    labels: Option<Vec<String>>,
    /// Of a job of this time or later.
    created_from: Option<DateTime>,
    /// Of a job before this time.
    created_to: Option<DateTime>,
    /// At least as new as this token.
    pub min_position: Option<String>,
}

impl TaskFilter {
    /// # Errors
    /// 400 for what is no id, no label, too many values, or a span that ends before it begins.
    pub fn read(self) -> Answer<Filter> {
        let job = self.job_id.map(|id| id.parse::<JobId>()).transpose()?;
        let workers = values("workerIds", self.worker_ids)?;
        let workers = workers.iter().map(|id| id.parse::<WorkerName>());
        Ok(Filter {
            job,
            states: values("states", self.states)?.into_iter().map(State::from).collect(),
            workers: workers.collect::<Result<_, _>>()?,
            external_ids: texts("externalIds", self.external_ids)?.into_iter().collect(),
            labels: labels(self.labels)?,
            created: created(self.created_from, self.created_to)?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TaskSort {
    /// Of the job; the tasks of a job by number.
    CreatedAt,
    /// Of the tasks of one job, which the filter names.
    Number,
}

/// In which order.
#[derive(InputObject)]
pub struct TaskOrder {
    by: TaskSort,
    direction: SortDirection,
}

impl TaskOrder {
    /// # Errors
    /// 400 for tasks of several jobs by number.
    pub fn read(self, filter: &Filter) -> Answer<Order> {
        let by = match self.by {
            TaskSort::CreatedAt => Sort::CreatedAt,
            TaskSort::Number if filter.job.is_some() => Sort::Number,
            TaskSort::Number => {
                let message = "numbers order the tasks of one job: name it by jobId, or sort by CREATED_AT";
                return Err(Problem::bad_parameter("orderBy", message).into());
            }
        };
        let direction = self.direction.into();
        Ok(Order { by, direction })
    }
}
