//! What belongs to the items of a list, read for all of them at once: no field asks the database once for each item.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::view::{JobView, TaskView, WorkerView};
use crate::domain::{JobId, TaskId, WorkerName};
use crate::log::{HistoryPart, StoredEvent};
use crate::projection::{AttemptRow, TaskRange};

/// Keys that are asked for at once.
const MOST_KEYS: usize = 500;

pub type Loaders = DataLoader<Nested>;

pub struct Nested(Arc<Api>);

pub fn loaders(api: &Arc<Api>) -> Loaders {
    DataLoader::new(Nested(Arc::clone(api)), |load| {
        crate::task::spawn("api.graphql.load", load)
    })
    .max_batch_size(MOST_KEYS)
}

fn database(error: sqlx::Error) -> Problem {
    Problem::database(&error)
}

impl Loader<JobId> for Nested {
    type Value = JobView;
    type Error = Problem;

    async fn load(&self, ids: &[JobId]) -> Result<HashMap<JobId, JobView>, Problem> {
        let rows = self.0.reading.jobs_at(ids).await.map_err(database)?;
        Ok(rows.into_iter().map(|at| (at.row.id, at.row.into())).collect())
    }
}

impl Loader<WorkerName> for Nested {
    type Value = WorkerView;
    type Error = Problem;

    async fn load(&self, names: &[WorkerName]) -> Result<HashMap<WorkerName, WorkerView>, Problem> {
        let rows = self.0.reading.workers_of(names).await.map_err(database)?;
        let views = rows.into_iter().map(|row| (row.name.clone(), self.0.worker_view(row)));
        Ok(views.collect())
    }
}

/// The document of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DocumentOf(pub JobId);

impl Loader<DocumentOf> for Nested {
    /// Its type and its bytes.
    type Value = (String, Vec<u8>);
    type Error = Problem;

    async fn load(&self, asked: &[DocumentOf]) -> Result<HashMap<DocumentOf, Self::Value>, Problem> {
        let jobs: Vec<JobId> = asked.iter().map(|asked| asked.0).collect();
        let found = self.0.documents(&jobs).await?;
        Ok(found
            .into_iter()
            .map(|(job, document)| (DocumentOf(job), document))
            .collect())
    }
}

/// Some tasks of a job, after a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TasksAfter {
    pub job: JobId,
    pub after: u32,
    pub limit: u32,
}

/// What there is of them.
#[derive(Clone)]
pub struct SomeTasks {
    pub tasks: Vec<TaskView>,
    pub total: u32,
}

impl Loader<TasksAfter> for Nested {
    type Value = SomeTasks;
    type Error = Problem;

    async fn load(&self, asked: &[TasksAfter]) -> Result<HashMap<TasksAfter, SomeTasks>, Problem> {
        let jobs: Vec<JobId> = asked.iter().map(|asked| asked.job).collect();
        let plans = self.0.reading.plans(&jobs).await.map_err(database)?;
        let range = |asked: &TasksAfter| {
            let total = plans.get(&asked.job)?.spec.task_count;
            Some(TaskRange {
                job: asked.job,
                first: asked.after.saturating_add(1),
                last: asked.after.saturating_add(asked.limit).min(total),
            })
        };
        let ranges: Vec<TaskRange> = asked.iter().filter_map(range).collect();
        let rows = self.0.reading.task_ranges(&ranges).await.map_err(database)?;
        let some = |asked: &TasksAfter| {
            let (plan, range) = (plans.get(&asked.job)?, range(asked)?);
            let ids = (range.first..=range.last).map(|number| TaskId { job: asked.job, number });
            let tasks = ids.filter_map(|id| Api::task_view(rows.get(&id).cloned(), id, plan));
            let total = plan.spec.task_count;
            Some((
                *asked,
                SomeTasks {
                    tasks: tasks.collect(),
                    total,
                },
            ))
        };
        Ok(asked.iter().filter_map(some).collect())
    }
}

impl Loader<TaskId> for Nested {
    type Value = Vec<AttemptRow>;
    type Error = Problem;

    async fn load(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Vec<AttemptRow>>, Problem> {
        let mut attempts: HashMap<TaskId, Vec<AttemptRow>> = HashMap::new();
        for row in self.0.reading.earlier_attempts(ids).await.map_err(database)? {
            attempts.entry(row.task).or_default().push(row);
        }
        Ok(attempts)
    }
}

impl Loader<HistoryPart> for Nested {
    type Value = Vec<StoredEvent>;
    type Error = Problem;

    async fn load(&self, parts: &[HistoryPart]) -> Result<HashMap<HistoryPart, Vec<StoredEvent>>, Problem> {
        let found = self.0.parts.log.histories(parts).await;
        found.map_err(|error| Problem::database(&error))
    }
}
