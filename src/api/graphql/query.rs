//! What can be asked.

use async_graphql::{Context, ID, Object};

use super::fault::Answer;
use super::filter::{JobFilter, JobOrder, TaskFilter, TaskOrder, WorkerFilter, WorkerOrder};
use super::guard::Needs;
use super::job::{Job, api};
use super::letters::{self, DeadLetters};
use super::list::{
    Counted, JobTotal, Jobs, cost, counted, cursor, offset, read_cursor, read_number, signed, size, up_to,
};
use super::logs::{LogFilter, LogPage};
use super::overview::{self, ClusterOverview};
use super::past::{self, JobAsOf, TaskAsOf};
use super::scalar::DateTime;
use super::search::SearchHit;
use super::series::{MetricFilter, Metrics};
use super::system::{Info, Quarantined, You};
use super::task::Task;
use super::worker::Worker;
use crate::api::Caller;
use crate::api::jobs::NEAR;
use crate::api::logs::{Bounds, Wanted};
use crate::api::problem::Problem;
use crate::api::search::MOST_HITS;
use crate::api::view::JobView;
use crate::domain::{JobId, TaskId, WorkerName};
use crate::projection::{JobKey, RetriesFrom, RetryKey, Start, TaskKey, WorkerKey};

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
        Ok(Some(api.job(id).await?.into()))
    }

    /// Jobs, newest first unless asked otherwise.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn jobs(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 20)] first: i32,
        #[graphql(desc = "The cursor of the job before.")] after: Option<String>,
        #[graphql(desc = "The number of the page, from 0; instead of `after`.")] page: Option<i32>,
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
        let offset = offset(page, after.is_some(), limit)?;
        api.wait_for(min_position.as_deref()).await?;
        // A deep page is looked for from the nearer end.
        let total = match offset > NEAR {
            true => Some(api.count_jobs(&filter, false).await?),
            false => None,
        };
        let start = key.map_or(Start::Offset { offset, total }, Start::After);
        let slice = api.reading.jobs(&filter, order, &start, limit).await;
        let slice = slice.map_err(|error| Problem::database(&error))?;
        let mut list = Jobs::with_additional_fields(after.is_some() || offset > 0, slice.more, JobTotal(filter));
        list.edges.extend(slice.rows.into_iter().map(|row| {
            let key = cursor(b'j', &JobKey::of(&row, order.by).to_bytes());
            async_graphql::connection::Edge::new(key, Job::from(JobView::from(row)))
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
        Ok(Some(api.task(id).await?.into()))
    }

    /// Tasks of all jobs, those of the newest job first unless asked otherwise.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the task before.")] after: Option<String>,
        #[graphql(desc = "The number of the page, from 0; instead of `after`.")] page: Option<i32>,
        filter: Option<TaskFilter>,
        order_by: Option<TaskOrder>,
    ) -> Answer<Counted<Task>> {
        let api = api(context);
        let limit = size(context, first)?;
        let mut filter = filter.unwrap_or_default();
        let min_position = filter.min_position.take();
        let filter = filter.read()?;
        let order = order_by
            .map(|order| order.read(&filter))
            .transpose()?
            .unwrap_or_default();
        let key = read_cursor(b'T', after.as_deref(), TaskKey::from_bytes)?;
        let offset = offset(page, after.is_some(), limit)?;
        api.wait_for(min_position.as_deref()).await?;
        let known = match offset > NEAR {
            true => Some(api.count_tasks(&filter, false).await?),
            false => None,
        };
        let start = key.map_or(Start::Offset { offset, total: known }, Start::After);
        // Nobody counts what is not asked for.
        let is_counted = context.look_ahead().field("totalCount").exists();
        let total = async {
            match (known, is_counted) {
                (Some(known), _) => Ok(known),
                (None, true) => api.count_tasks(&filter, false).await,
                (None, false) => Ok(0),
            }
        };
        let (total, slice) = futures::try_join!(total, api.slice_of_tasks(&filter, order, &start, limit))?;
        let edge = |(key, task): (TaskKey, _)| (cursor(b'T', &key.to_bytes()), Task::from(task));
        let edges = slice.rows.into_iter().map(edge);
        Ok(counted(after.is_some() || offset > 0, slice.more, signed(total), edges))
    }

    /// Tasks that wait for their retry, of a job or of all, the next due first.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    async fn retries(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the task before.")] after: Option<String>,
        #[graphql(desc = "Of this job only.")] job_id: Option<ID>,
        #[graphql(desc = "At least as new as this token.")] min_position: Option<String>,
    ) -> Answer<Counted<Task>> {
        let api = api(context);
        let limit = size(context, first)?;
        let job = job_id.map(|id| id.parse::<JobId>()).transpose()?;
        let key = read_cursor(b'r', after.as_deref(), RetryKey::from_bytes)?;
        api.wait_for(min_position.as_deref()).await?;
        let from = key.map_or(RetriesFrom::Offset(0), RetriesFrom::After);
        let (total, slice) = api.slice_of_retries(job, from, limit).await?;
        let edge = |(key, task): (RetryKey, _)| (cursor(b'r', &key.to_bytes()), Task::from(task));
        let edges = slice.rows.into_iter().map(edge);
        Ok(counted(after.is_some(), slice.more, signed(total), edges))
    }

    /// Records of a job that its pipelines could not process, by task and in the order in which they failed.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn dead_letters(
        &self,
        context: &Context<'_>,
        job_id: ID,
        #[graphql(desc = "Only those of this task of the job.")] task_id: Option<ID>,
        #[graphql(desc = "Only those that failed at the node of this id.")] node: Option<String>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the one before.")] after: Option<String>,
    ) -> Answer<DeadLetters> {
        let sought = letters::sought(task_id, node)?;
        letters::page(context, job_id.parse()?, sought, first, after).await
    }

    /// Jobs, tasks and workers by the beginning of an id, a name or a label: jobs first, then tasks, then workers.
    #[graphql(
        guard = "Needs::Viewer",
        complexity = "20 + cost(first.saturating_mul(3), child_complexity)"
    )]
    async fn search(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 255 characters.")] q: String,
        #[graphql(desc = "How many of each kind, from 1 to 100.", default = 20)] first: i32,
        #[graphql(desc = "At least as new as this token.")] min_position: Option<String>,
    ) -> Answer<Vec<SearchHit>> {
        let limit = up_to(MOST_HITS, first)?;
        let api = api(context);
        api.wait_for(min_position.as_deref()).await?;
        let hits = api.search(q.trim(), limit).await?;
        Ok(hits.into_iter().map(SearchHit::from).collect())
    }

    /// Lines that tasks wrote, newest first. There is no index on words: name a job, a task, a worker or a short time.
    #[graphql(guard = "Needs::Viewer", complexity = "20 + cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn logs(
        &self,
        context: &Context<'_>,
        filter: Option<LogFilter>,
        #[graphql(desc = "Of then or later; of the last day when it is not given.")] from: Option<DateTime>,
        #[graphql(desc = "Up to then; up to now when it is not given.")] to: Option<DateTime>,
        #[graphql(desc = "How many.", default = 100)] first: i32,
        #[graphql(desc = "`nextCursor` of the page before, with the same filter.")] after: Option<String>,
    ) -> Answer<LogPage> {
        let limit = size(context, first)?;
        let now = crate::clock::now();
        let bounds = Bounds::between(from.map(|time| time.0), to.map(|time| time.0), now)?;
        let wanted = Wanted::try_from(filter.unwrap_or_default())?;
        let found = api(context)
            .search_logs(&wanted, bounds, limit, after.as_deref())
            .await?;
        Ok(found.into())
    }

    /// The job as it was at a time; its tasks and events are those of then.
    #[graphql(guard = "Needs::Viewer", complexity = "past::cost(child_complexity)")]
    async fn job_as_of(&self, context: &Context<'_>, id: ID, at: DateTime) -> Answer<Option<JobAsOf>> {
        let seen = api(context).job_as_of(id.parse::<JobId>()?, at.0).await?;
        Ok(Some(seen.into()))
    }

    /// The task as it was at a time; its attempts and events are those of then.
    #[graphql(guard = "Needs::Viewer", complexity = "100 + child_complexity")]
    async fn task_as_of(&self, context: &Context<'_>, id: ID, at: DateTime) -> Answer<Option<TaskAsOf>> {
        let seen = api(context).task_as_of(id.parse::<TaskId>()?, at.0).await?;
        Ok(Some(seen.into()))
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

    /// Workers, newest first unless asked otherwise.
    #[graphql(guard = "Needs::Viewer", complexity = "cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn workers(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the worker before.")] after: Option<String>,
        #[graphql(desc = "The number of the page, from 0; instead of `after`.")] page: Option<i32>,
        filter: Option<WorkerFilter>,
        order_by: Option<WorkerOrder>,
    ) -> Answer<Counted<Worker>> {
        let api = api(context);
        let limit = size(context, first)?;
        let mut filter = filter.unwrap_or_default();
        let min_position = filter.min_position.take();
        let asked = filter.read()?;
        let order = order_by.map(Into::into).unwrap_or_default();
        let key = read_cursor(b'w', after.as_deref(), WorkerKey::from_bytes)?;
        api.wait_for(min_position.as_deref()).await?;
        let (offset, total) = (offset(page, after.is_some(), limit)?, None);
        let start = key.map_or(Start::Offset { offset, total }, Start::After);
        let (total, slice) = api.slice_of_workers(&asked, order, &start, limit).await?;
        let edge = |row: crate::projection::WorkerRow| {
            let key = cursor(b'w', &WorkerKey::of(&row).to_bytes());
            (key, Worker(api.worker_view(row)))
        };
        Ok(counted(
            after.is_some() || offset > 0,
            slice.more,
            signed(total),
            slice.rows.into_iter().map(edge),
        ))
    }

    /// Who asks, and what they may do.
    #[graphql(guard = "Needs::Viewer")]
    async fn you(&self, context: &Context<'_>) -> You {
        You::from(context.data_unchecked::<Caller>())
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
        Ok(counted(skipped > 0, end < total, signed(total), edges))
    }

    /// Measured values by window, of tasks, workers, jobs and processes.
    #[graphql(guard = "Needs::Viewer", complexity = "100 + child_complexity")]
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn metrics(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which metrics, and of what.")] filter: Option<MetricFilter>,
        #[graphql(desc = "The begin: RFC 3339, or a time before now.", default = "-1h")] from: String,
        #[graphql(desc = "The end: as `from`, or now.", default = "now")] to: String,
        #[graphql(desc = "Length of a window, such as 1m; without it, up to 500 windows.")] interval: Option<String>,
        #[graphql(desc = "Most points, from 1 to 10,000; the newest are given.", default = 1_000)] limit: i32,
    ) -> Answer<Metrics> {
        let question = filter.unwrap_or_default().question(from, to, interval, limit)?;
        Ok(api(context).series(question).await?.into())
    }

    /// Jobs, tasks and workers at a glance.
    #[graphql(guard = "Needs::Viewer", complexity = "20 + child_complexity")]
    async fn cluster_overview(&self, context: &Context<'_>) -> Answer<ClusterOverview> {
        let (overview, _) = overview::read(api(context)).await?;
        Ok(overview)
    }
}
