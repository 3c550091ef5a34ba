//! What can be asked.

use async_graphql::{Context, ID, Object};

use super::fault::Answer;
use super::guard::Needs;
use super::job::{self, Job, api};
use super::task::Task;
use super::worker::Worker;
use crate::domain::{JobId, TaskId, WorkerName};

pub struct Query;

#[Object]
impl Query {
    /// The job of that id.
    #[graphql(guard = "Needs::Viewer")]
    async fn job(&self, context: &Context<'_>, id: ID) -> Answer<Option<Job>> {
        let id: JobId = id.parse()?;
        Ok(Some(job::find(context, id).await?))
    }

    /// The task of that id.
    #[graphql(guard = "Needs::Viewer")]
    async fn task(&self, context: &Context<'_>, id: ID) -> Answer<Option<Task>> {
        let id: TaskId = id.parse()?;
        Ok(Some(Task(api(context).task(id).await?)))
    }

    /// The worker of that id.
    #[graphql(guard = "Needs::Viewer")]
    async fn worker(&self, context: &Context<'_>, id: ID) -> Answer<Option<Worker>> {
        let name: WorkerName = id.parse()?;
        let api = api(context);
        Ok(Some(Worker(api.worker_view(api.worker(&name).await?))))
    }
}
