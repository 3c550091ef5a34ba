//! An event of the log as GraphQL shows it.

use async_graphql::{Context, Enum, ID, Object, Value};

use super::fault::Answer;
use super::job::api;
use super::list::{List, cursor, list, read_cursor, read_number, size};
use super::loaders::Loaders;
use super::scalar::{DateTime, Json};
use crate::api::view::EventView;
use crate::domain::StreamId;
use crate::log::HistoryPart;

/// In which order a history is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub enum EventOrder {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// Part of a history; up to the event of that version, when it is that of an object as it was.
///
/// # Errors
/// 400 for a bad size or cursor; 503 when the log does not answer.
pub async fn history(
    context: &Context<'_>,
    stream: StreamId,
    (first, after): (i32, Option<String>),
    order: EventOrder,
    version: Option<u32>,
) -> Answer<List<Event>> {
    let limit = size(context, first)?;
    let letter = match order {
        EventOrder::Asc => b'e',
        EventOrder::Desc => b'E',
    };
    let mut from = read_cursor(letter, after.as_deref(), read_number)?.unwrap_or(0);
    if let (Some(version), EventOrder::Desc) = (version, order) {
        let end = version.saturating_add(1);
        from = if from == 0 { end } else { from.min(end) };
    }
    let part = HistoryPart {
        stream,
        from,
        // One more tells whether there are more.
        limit: limit + 1,
        oldest_first: order == EventOrder::Asc,
    };
    // Before the first there is nothing.
    let ended = order == EventOrder::Desc && from == 1;
    let found = match ended {
        true => None,
        false => context.data_unchecked::<Loaders>().load_one(part).await?,
    };
    let mut events = found.unwrap_or_default();
    events.retain(|event| version.is_none_or(|version| event.version <= version));
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let edge = |event: crate::log::StoredEvent| {
        let key = cursor(letter, &event.version.to_be_bytes());
        let view = api(context).event_view(&event);
        let stream = event.stream;
        (key, Event { view, stream })
    };
    Ok(list(after.is_some(), more, events.into_iter().map(edge)))
}

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
