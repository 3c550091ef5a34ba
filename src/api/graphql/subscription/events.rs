//! Events as they are in the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_graphql::{ID, InputObject};
use serde::Deserialize;
use tokio::time::Instant;

use super::{EventItem, Source};
use crate::api::Api;
use crate::api::graphql::event::Event;
use crate::api::graphql::fault::Answer;
use crate::api::live::{Follower, Scope};
use crate::api::problem::Problem;
use crate::domain::event::Event as AnyEvent;
use crate::domain::{JobId, Position, Seq, ShardId, TaskId, WorkerName};
use crate::log::StoredEvent;
use crate::projection::PositionToken;

/// Which events.
pub struct Filter {
    of: Of,
    types: Option<Vec<String>>,
}

enum Of {
    Everything,
    Job(JobId),
    Task(TaskId),
    Worker(WorkerName),
}

/// Which events: of one job with its tasks, one task or one worker, or of everything.
#[derive(Default, InputObject)]
pub struct EventFilter {
    /// Only of this job and its tasks.
    job_id: Option<ID>,
    /// Only of this task.
    task_id: Option<ID>,
    /// Only of this worker.
    worker_id: Option<ID>,
    /// Only of these types, such as `TaskCompleted`.
    types: Option<Vec<String>>,
}

impl EventFilter {
    /// # Errors
    /// 400 for several objects, what is no id, or an unknown type.
    pub fn read(self) -> Answer<Filter> {
        let of = match (self.job_id, self.task_id, self.worker_id) {
            (None, None, None) => Of::Everything,
            (Some(job), None, None) => Of::Job(job.parse()?),
            (None, Some(task), None) => Of::Task(task.parse()?),
            (None, None, Some(worker)) => Of::Worker(worker.parse()?),
            _ => return Err(Problem::bad_parameter("jobId", "give one of jobId, taskId, workerId").into()),
        };
        if let Some(types) = &self.types {
            let unknown = types.iter().find(|name| !AnyEvent::TYPE_NAMES.contains(&name.as_str()));
            if let Some(name) = unknown {
                let known = AnyEvent::TYPE_NAMES.join(", ");
                return Err(Problem::bad_parameter("types", format!("{name:?} is none of {known}")).into());
            }
        }
        let types = self.types;
        Ok(Filter { of, types })
    }
}

impl Filter {
    pub fn scope(&self) -> Scope {
        match &self.of {
            Of::Everything => Scope::Everything,
            Of::Job(job) => Scope::Job(*job),
            Of::Task(task) => Scope::Task(*task),
            Of::Worker(_) => Scope::Workers,
        }
    }

    fn wants(&self, event: &StoredEvent) -> bool {
        #[derive(Deserialize)]
        struct Named {
            worker: WorkerName,
        }
        // One that cannot be read is shown as such.
        let Ok(header) = event.header() else { return true };
        if let Some(types) = &self.types
            && !types.iter().any(|name| *name == header.r#type)
        {
            return false;
        }
        match &self.of {
            Of::Everything | Of::Job(_) | Of::Task(_) => true,
            Of::Worker(name) => serde_json::from_str(header.data.get()).is_ok_and(|it: Named| it.worker == *name),
        }
    }
}

pub struct Events {
    api: Arc<Api>,
    follower: Follower,
    filter: Filter,
    ready: VecDeque<StoredEvent>,
    /// Where the items that were given have come to.
    given: BTreeMap<ShardId, Seq>,
    told: PositionToken,
    tell_at: Instant,
}

impl Events {
    pub fn new(api: &Arc<Api>, follower: Follower, filter: Filter) -> Self {
        Self {
            api: Arc::clone(api),
            given: follower.have().clone(),
            told: follower.token(),
            follower,
            filter,
            ready: VecDeque::new(),
            tell_at: Instant::now() + api.token_interval(),
        }
    }

    fn give(&mut self, event: &StoredEvent) -> EventItem {
        let Position { shard, seq } = event.position;
        self.given.insert(shard, seq);
        if self.ready.is_empty() {
            // Over those that were left out.
            self.given.clone_from(self.follower.have());
        }
        self.told = self.api.parts.live.token(&self.given);
        self.tell_at = Instant::now() + self.api.token_interval();
        EventItem {
            event: Some(Event {
                view: self.api.event_view(event),
                stream: event.stream,
            }),
            position: self.told.to_string(),
        }
    }

    /// A token alone, when it is news.
    fn sign(&mut self) -> Option<EventItem> {
        self.tell_at = Instant::now() + self.api.token_interval();
        self.follower.settle();
        let token = self.follower.token();
        if token == self.told {
            return None;
        }
        self.given.clone_from(self.follower.have());
        self.told = token;
        Some(EventItem {
            event: None,
            position: self.told.to_string(),
        })
    }
}

impl Source for Events {
    type Item = EventItem;

    async fn next(&mut self) -> Answer<Option<EventItem>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(self.give(&event)));
            }
            // A long way through what is left out is told as well.
            if Instant::now() >= self.tell_at
                && let Some(item) = self.sign()
            {
                return Ok(Some(item));
            }
            let events = tokio::select! {
                events = self.follower.next() => events?,
                () = tokio::time::sleep_until(self.tell_at) => continue,
            };
            let wanted = events.into_iter().filter(|event| self.filter.wants(event));
            self.ready = wanted.collect();
        }
    }
}
