//! What can be asked.

use async_graphql::{Context, ID, Object};

use super::fault::Answer;
use super::filter::{JobFilter, JobOrder};
use super::guard::Needs;
use super::job::{Job, JobAsOf, api};
use super::list::{Counted, JobTotal, Jobs, cost, counted, cursor, read_cursor, read_number, size};
use super::overview::{self, ClusterOverview};
use super::scalar::DateTime;
use super::system::{Info, Quarantined};
use super::task::{Task, TaskAsOf};
use super::worker::Worker;
use crate::api::problem::Problem;
use crate::api::workers::WorkersAsked;
use crate::domain::{JobId, TaskId, WorkerName};
use crate::projection::{JobKey, Start, WorkerKey, WorkerOrder};

pub struct Query;

#[Object]
impl Query {
    /// The job of that id.
    #[graphql(guard = "Needs::Viewer")]
    async fn job(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "At least as new as this token.")] min_position: Option<String>,
    ) -> Answer<Option<Job>> {
        let (api, id) = (api(context), id.parse::<JobId>()?);
        api.wait_for(min_position.as_deref()).await?;
        Ok(Some(Job(api.job(id).await?)))
    }

    /// Jobs, newest first unless asked otherwise.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    async fn jobs(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 20)] first: i32,
        #[graphql(desc = "The cursor of the job before.")] after: Option<String>,
        filter: Option<JobFilter>,
        order_by: Option<JobOrder>,
    ) -> Answer<Jobs<Job>> {
        let api = api(context);
        let limit = size(context, first)?;
        let mut filter = filter.unwrap_or_default();
        let min_position = filter.min_position.take();
        let filter = filter.read()?;
        let order = order_by.map(crate::projection::JobOrder::from).unwrap_or_default();
        let key = read_cursor(b'j', after.as_deref(), |key| JobKey::from_bytes(key, order.by))?;
        let offset = Start::Offset { offset: 0, total: None };
        let start = key.map_or(offset, Start::After);
        api.wait_for(min_position.as_deref()).await?;
        let slice = api.reading.jobs(&filter, order, &start, limit).await;
        let slice = slice.map_err(|error| Problem::database(&error))?;
        let mut list = Jobs::with_additional_fields(after.is_some(), slice.more, JobTotal(filter));
        list.edges.extend(slice.rows.into_iter().map(|row| {
            let key = cursor(b'j', &JobKey::of(&row, order.by).to_bytes());
            async_graphql::connection::Edge::new(key, Job(row.into()))
        }));
        Ok(list)
    }

    /// The task of that id.
    #[graphql(guard = "Needs::Viewer")]
    async fn task(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "At least as new as this token.")] min_position: Option<String>,
    ) -> Answer<Option<Task>> {
        let (api, id) = (api(context), id.parse::<TaskId>()?);
        api.wait_for(min_position.as_deref()).await?;
        Ok(Some(Task(api.task(id).await?)))
    }

    /// The job as it was at a time.
    #[graphql(guard = "Needs::Viewer", complexity = "100 + child_complexity")]
    async fn job_as_of(&self, context: &Context<'_>, id: ID, at: DateTime) -> Answer<Option<JobAsOf>> {
        let seen = api(context).job_as_of(id.parse::<JobId>()?, at.0).await?;
        Ok(Some(JobAsOf {
            job: Job(seen.object),
            as_of: seen.as_of.into(),
            provisional: seen.provisional,
        }))
    }

    /// The task as it was at a time.
    #[graphql(guard = "Needs::Viewer", complexity = "100 + child_complexity")]
    async fn task_as_of(&self, context: &Context<'_>, id: ID, at: DateTime) -> Answer<Option<TaskAsOf>> {
        let seen = api(context).task_as_of(id.parse::<TaskId>()?, at.0).await?;
        Ok(Some(TaskAsOf {
            task: Task(seen.object),
            as_of: seen.as_of.into(),
            provisional: seen.provisional,
        }))
    }

    /// The worker of that id.
    #[graphql(guard = "Needs::Viewer")]
    async fn worker(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "At least as new as this token.")] min_position: Option<String>,
    ) -> Answer<Option<Worker>> {
        let (api, name) = (api(context), id.parse::<WorkerName>()?);
        api.wait_for(min_position.as_deref()).await?;
        Ok(Some(Worker(api.worker_view(api.worker(&name).await?))))
    }

    /// Workers, newest first.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    async fn workers(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the worker before.")] after: Option<String>,
        #[graphql(desc = "At least as new as this token.")] min_position: Option<String>,
    ) -> Answer<Counted<Worker>> {
        let api = api(context);
        let limit = size(context, first)?;
        let key = read_cursor(b'w', after.as_deref(), WorkerKey::from_bytes)?;
        api.wait_for(min_position.as_deref()).await?;
        let (offset, asked) = (Start::Offset { offset: 0, total: None }, WorkersAsked::default());
        let start = key.map_or(offset, Start::After);
        let slice = api.slice_of_workers(&asked, WorkerOrder::default(), &start, limit);
        let (total, slice) = slice.await?;
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        let edge = |row: crate::projection::WorkerRow| {
            let key = cursor(b'w', &WorkerKey::of(&row).to_bytes());
            (key, Worker(api.worker_view(row)))
        };
        Ok(counted(
            after.is_some(),
            slice.more,
            total,
            slice.rows.into_iter().map(edge),
        ))
    }

    /// The process that answers.
    #[graphql(guard = "Needs::Viewer")]
    async fn info(&self, context: &Context<'_>) -> Info {
        Info::of(api(context))
    }

    /// Messages and events that could not be taken and were passed over, newest first.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    async fn quarantine(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the item before.")] after: Option<String>,
    ) -> Answer<Counted<Quarantined>> {
        let limit = size(context, first)?;
        let skipped = read_cursor(b'q', after.as_deref(), read_number)?.unwrap_or(0);
        let (total, items) = api(context).quarantined(u64::from(skipped), limit).await?;
        let end = u64::from(skipped) + items.len() as u64;
        let edges = items.into_iter().zip(skipped + 1..).map(|(item, place)| {
            let key = cursor(b'q', &place.to_be_bytes());
            (key, Quarantined::from(item))
        });
        let count = i64::try_from(total).unwrap_or(i64::MAX);
        Ok(counted(skipped > 0, end < total, count, edges))
    }

    /// Jobs, tasks and workers at a glance.
    #[graphql(guard = "Needs::Viewer", complexity = "20 + child_complexity")]
    async fn cluster_overview(&self, context: &Context<'_>) -> Answer<ClusterOverview> {
        let (overview, _) = overview::read(api(context)).await?;
        Ok(overview)
    }
}
