//! A worker as GraphQL shows it.

use async_graphql::{Context, ID, Object};

use super::event::{self, Event, EventOrder};
use super::fault::Answer;
use super::list::{List, cost};
use super::loaders::Loaders;
use super::scalar::{DateTime, Json};
use crate::api::view::WorkerView;
use crate::domain::{StreamId, WorkerName};

/// The worker of that id; null when nobody knows it any more.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn named(context: &Context<'_>, id: Option<&str>) -> Answer<Option<Worker>> {
    let Some(id) = id else { return Ok(None) };
    let name: WorkerName = id.parse()?;
    let worker = context.data_unchecked::<Loaders>().load_one(name).await?;
    Ok(worker.map(Worker))
}

/// Somebody who runs tasks.
#[derive(Clone)]
pub struct Worker(pub WorkerView);

#[Object]
impl Worker {
    /// `worker-<name>`.
    async fn id(&self) -> ID {
        ID(self.0.worker_id.clone())
    }

    /// The same as `id`, as REST calls it.
    async fn worker_id(&self) -> ID {
        ID(self.0.worker_id.clone())
    }

    /// Where its health and metrics are served.
    async fn endpoint_url(&self) -> &str {
        &self.0.endpoint_url
    }

    async fn current_tasks(&self) -> u32 {
        self.0.current_tasks
    }

    async fn max_capacity(&self) -> u32 {
        self.0.max_capacity
    }

    /// `ACTIVE`, `INACTIVE` or `PENDING`.
    async fn state(&self) -> &str {
        self.0.state
    }

    /// It gets no new work, nor do later processes of its name, until it is uncordoned.
    async fn cordoned(&self) -> bool {
        self.0.cordoned
    }

    /// It takes no more tasks, and ends when those that it has are done.
    async fn draining(&self) -> bool {
        self.0.draining
    }

    async fn last_heartbeat_at(&self) -> Option<DateTime> {
        self.0.last_heartbeat_at.map(DateTime)
    }

    /// When its present process registered.
    async fn registered_at(&self) -> DateTime {
        self.0.registered_at.into()
    }

    /// When a process of that name registered for the first time.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When its process ended, or was given up.
    async fn left_at(&self) -> Option<DateTime> {
        self.0.left_at.map(DateTime)
    }

    /// `DRAINED`: it said goodbye. `LOST`: it was not heard for too long. `SUPERSEDED`: a newer process took its name.
    async fn left_cause(&self) -> Option<&str> {
        self.0.left_cause.as_deref()
    }

    /// An object of texts.
    async fn labels(&self) -> Json {
        Json::of(&self.0.labels)
    }

    /// Cores in use, as of the last heartbeat.
    async fn cpu_cores(&self) -> Option<f64> {
        self.0.cpu_cores
    }

    /// Memory in use, as of the last heartbeat.
    async fn memory_bytes(&self) -> Option<f64> {
        // A GraphQL Int has 32 bits; a float is exact up to 8 PiB.
        self.0.memory_bytes.map(|bytes| bytes as f64)
    }

    /// What has happened to its present process.
    #[graphql(complexity = "cost(first, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many.", default = 50)] first: i32,
        #[graphql(desc = "The cursor of the event before.")] after: Option<String>,
        #[graphql(default)] order: EventOrder,
    ) -> Answer<List<Event>> {
        event::history(
            context,
            StreamId::Worker(self.0.incarnation),
            (first, after),
            order,
            None,
        )
        .await
    }
}
