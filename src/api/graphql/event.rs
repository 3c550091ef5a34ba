//! An event of the log as GraphQL shows it.

use async_graphql::{ID, Object, Value};

use super::scalar::{DateTime, Json};
use crate::api::view::EventView;
use crate::domain::StreamId;

/// Something that has happened to a job, a task or a worker.
pub struct Event {
    pub view: EventView,
    pub stream: StreamId,
}

#[Object]
impl Event {
    /// Where it stands in the log: a token, also for `minPosition` and `after`.
    async fn position(&self) -> String {
        self.view.position.to_string()
    }

    /// Such as `TaskCompleted`.
    async fn r#type(&self) -> &str {
        &self.view.r#type
    }

    /// Of the data.
    async fn version(&self) -> u32 {
        u32::from(self.view.version)
    }

    /// Its place in the history that it belongs to, from 1.
    async fn stream_version(&self) -> u32 {
        self.view.stream_version
    }

    async fn at(&self) -> DateTime {
        self.view.at.into()
    }

    /// Who wished or reported it.
    async fn principal(&self) -> &str {
        &self.view.principal
    }

    /// The command from which it follows.
    async fn causation_id(&self) -> Option<ID> {
        self.view.causation_id.map(|id| ID(id.to_string()))
    }

    /// The job that it belongs to; null for a worker's.
    async fn job_id(&self) -> Option<ID> {
        match self.stream {
            StreamId::Job(job) => Some(ID(job.to_string())),
            StreamId::Task(task) => Some(ID(task.job.to_string())),
            StreamId::Worker(_) => None,
        }
    }

    /// The task that it belongs to; null for a job's or a worker's.
    async fn task_id(&self) -> Option<ID> {
        match self.stream {
            StreamId::Task(task) => Some(ID(task.to_string())),
            StreamId::Job(_) | StreamId::Worker(_) => None,
        }
    }

    /// What there is to say, by type: see events.schema.json.
    async fn data(&self) -> Json {
        let value = serde_json::from_str(self.view.data.get()).ok();
        Json(
            value
                .and_then(|value: serde_json::Value| Value::from_json(value).ok())
                .unwrap_or_default(),
        )
    }
}
