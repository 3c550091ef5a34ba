//! What can be followed.
//!
//! Must stay true: every item carries the token after it, and a subscription that begins with that token goes on there:
//! nothing is left out, nothing comes twice. Objects come as they are at or after their position, so that what changed
//! several times in a short while comes once.

mod changes;
mod cluster;
mod events;
mod job;
mod logs;
mod metrics;
mod workers;

use async_graphql::{Context, ID, SimpleObject, Subscription as Root};
use futures::{Stream, StreamExt, stream};

use super::event::Event;
use super::fault::{Answer, Fault};
use super::guard::Needs;
use super::job::{Job, api};
use super::logs::{LogFilter, LogItem};
use super::overview::{ClusterOverview, Overviews};
use super::series::{MetricFilter, Metrics};
use super::task::Task;
use super::worker::Worker;
use crate::api::live::{Hub, Scope};
use crate::api::logs::LogTail;
use crate::api::problem::Problem;
use crate::domain::{JobId, TaskId, WorkerName};
use crate::projection::PositionToken;
use changes::{Changes, Jobs, Tasks};
use cluster::Cluster;
use events::{EventFilter, Events};
use job::OneJob;
use logs::Logs;
use metrics::Followed;
use workers::Workers;

pub struct Subscription;

/// Points of one item of a subscription.
const MOST_POINTS: i32 = 10_000;

/// A job that has changed.
#[derive(SimpleObject)]
pub struct JobChange {
    /// As it is at `position` or later; null: nothing has changed, go on from the position.
    pub job: Option<Job>,
    /// The token after this item, for `after`.
    pub position: String,
}

/// A task that has changed.
#[derive(SimpleObject)]
pub struct TaskChange {
    /// As it is at `position` or later; null: nothing has changed, go on from the position.
    pub task: Option<Task>,
    /// The token after this item, for `after`.
    pub position: String,
}

/// A worker that has changed.
#[derive(SimpleObject)]
pub struct WorkerChange {
    pub worker: Worker,
    /// The token after this item, for `after`.
    pub position: String,
}

/// Something that has happened.
#[derive(SimpleObject)]
pub struct EventItem {
    /// Null: nothing that was asked for has happened, go on from the position.
    pub event: Option<Event>,
    /// The token after this item, for `after`.
    pub position: String,
}

/// A source of items, one after the other.
trait Source: Send + 'static {
    type Item: Send;
    /// `None`: there will be no more.
    fn next(&mut self) -> impl Future<Output = Answer<Option<Self::Item>>> + Send;
}

fn items<S: Source>(source: S) -> impl Stream<Item = Answer<S::Item>> + Send {
    stream::try_unfold(source, |mut source| async move {
        let item = source.next().await?;
        Ok::<_, Fault>(item.map(|item| (item, source)))
    })
}

fn token(hub: &Hub, text: Option<&str>) -> Answer<Option<PositionToken>> {
    let Some(text) = text else { return Ok(None) };
    let parsed = text.parse::<PositionToken>();
    let token = parsed.map_err(|error| Problem::bad_parameter("after", error.to_string()))?;
    hub.check_place(&token)?;
    Ok(Some(token))
}

#[Root]
impl Subscription {
    /// The job, or every job, each time it changes. Of one job the present state comes first, unless it is not newer than
    /// `after`.
    #[graphql(guard = "Needs::Viewer")]
    async fn job_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only this job.")] job_id: Option<ID>,
        #[graphql(desc = "Go on after this token.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Answer<JobChange>>, Fault> {
        let api = api(context);
        let after = token(&api.parts.live, after.as_deref())?;
        let Some(id) = job_id else {
            let follower = api.parts.live.follow(Scope::Everything, after.as_ref()).await?;
            return Ok(items(Changes::new(api, follower, Jobs)).left_stream());
        };
        let id: JobId = id.parse()?;
        let one = OneJob::begin(api, id, after.as_ref()).await?;
        Ok(items(one).right_stream())
    }

    /// The task, or each task of a job, each time it changes.
    #[graphql(guard = "Needs::Viewer")]
    async fn task_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Every task of this job; give this or `taskId`.")] job_id: Option<ID>,
        #[graphql(desc = "Only this task.")] task_id: Option<ID>,
        #[graphql(desc = "Go on after this token.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Answer<TaskChange>>, Fault> {
        let api = api(context);
        let after = token(&api.parts.live, after.as_deref())?;
        let scope = match (job_id, task_id) {
            (Some(job), None) => {
                let job: JobId = job.parse()?;
                api.job(job).await?;
                Scope::Job(job)
            }
            (None, Some(task)) => {
                let task: TaskId = task.parse()?;
                api.task(task).await?;
                Scope::Task(task)
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(Problem::bad_parameter("jobId", "give either jobId or taskId").into());
            }
        };
        let follower = api.parts.live.follow(scope, after.as_ref()).await?;
        Ok(items(Changes::new(api, follower, Tasks)))
    }

    /// The worker, or every worker, each time it changes: it registers, leaves, drains, falls silent, has more or fewer
    /// tasks. The present states come first, of those that are newer than `after`.
    #[graphql(guard = "Needs::Viewer")]
    async fn worker_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only this worker.")] worker_id: Option<ID>,
        #[graphql(desc = "Go on after this token.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Answer<WorkerChange>>, Fault> {
        let api = api(context);
        let after = token(&api.parts.live, after.as_deref())?;
        let only = worker_id.map(|id| id.parse::<WorkerName>()).transpose()?;
        if let Some(name) = &only {
            api.worker(name).await?;
        }
        Ok(items(Workers::begin(api, only, after).await?))
    }

    /// Everything that happens, or what of it is asked for, in the order of each shard; from now on, or after a token.
    #[graphql(guard = "Needs::Viewer")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Go on after this token; without one, from now on.")] after: Option<String>,
        #[graphql(desc = "Begin with the oldest event that there is; instead of `after`.", default)] from_start: bool,
        filter: Option<EventFilter>,
    ) -> Result<impl Stream<Item = Answer<EventItem>>, Fault> {
        let api = api(context);
        let hub = &api.parts.live;
        let after = match (from_start, token(hub, after.as_deref())?) {
            (true, Some(_)) => return Err(Problem::bad_parameter("after", "give either after or fromStart").into()),
            (true, None) => Some(PositionToken::of(hub.timeline(), [])),
            (false, after) => after,
        };
        let filter = filter.unwrap_or_default().read()?;
        let follower = hub.follow(filter.scope(), after.as_ref()).await?;
        Ok(items(Events::new(api, follower, filter)))
    }

    /// Lines that tasks write, as they come; from now on, or after a token.
    #[graphql(guard = "Needs::Viewer")]
    async fn logs(
        &self,
        context: &Context<'_>,
        filter: Option<LogFilter>,
        #[graphql(desc = "Go on after this token; without one, from now on.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Answer<LogItem>>, Fault> {
        let wanted = filter.unwrap_or_default().try_into()?;
        let (tail, _) = LogTail::begin(std::sync::Arc::clone(api(context)), wanted, after.as_deref(), 0).await?;
        Ok(items(Logs::new(tail)))
    }

    /// Measured values by window: those since `from`, and then each that is new or has changed, until its window is over.
    /// A point given again, of the same time, metric and tags, is in the place of the earlier one. To go on, begin with
    /// the time of the last point.
    #[graphql(guard = "Needs::Viewer")]
    async fn metrics(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which metrics, and of what.")] filter: Option<MetricFilter>,
        #[graphql(desc = "The begin: RFC 3339, or a time before now.", default = "-5m")] from: String,
        #[graphql(desc = "Length of a window.", default = "10s")] interval: String,
    ) -> Result<impl Stream<Item = Answer<Metrics>>, Fault> {
        let filter = filter.unwrap_or_default();
        let question = filter.question(from, "now".to_owned(), Some(interval), MOST_POINTS)?;
        Ok(items(Followed::new(api(context), question)?))
    }

    /// Jobs, tasks and workers at a glance: now, and when something has changed, at most once a second.
    #[graphql(guard = "Needs::Viewer")]
    async fn cluster_overview(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Not before something has been committed after this token.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Answer<ClusterOverview>>, Fault> {
        let after = token(&api(context).parts.live, after.as_deref())?;
        let seen = context.data_unchecked::<Overviews>().watch().await;
        Ok(items(Cluster::new(seen, after)))
    }
}
