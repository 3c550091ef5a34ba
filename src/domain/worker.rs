//! A worker's own history: which process bears its name, and since when.

use super::event::{Event, StreamId, WorkerEnd, WorkerLeft, WorkerRegistered};
use super::refusal::{Refusal, RefusalCode};
use super::{Incarnation, Labels, WorkerName};

/// What a worker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    pub endpoint_url: String,
    pub max_capacity: u32,
    #[serde(default)]
    pub labels: Labels,
}

/// The process that bears a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerHistory {
    pub incarnation: Option<Incarnation>,
    /// Whether that process has left.
    pub left: bool,
}

impl WorkerHistory {
    /// The latest process wins; the one before is told to go.
    pub fn decide_register(&self, registration: &Registration) -> Result<Vec<(StreamId, Event)>, Refusal> {
        let mut events = Vec::new();
        if let Some(current) = self.incarnation {
            if registration.incarnation < current {
                return Err(Refusal::new(
                    RefusalCode::Superseded,
                    format!(
                        "a newer process of {} has registered; this one must end",
                        registration.worker
                    ),
                ));
            }
            if registration.incarnation == current {
                if self.left {
                    return Err(Refusal::new(
                        RefusalCode::Superseded,
                        format!("this process of {} was given up; start a new one", registration.worker),
                    ));
                }
                return Ok(events);
            }
            if !self.left {
                events.push(left(&registration.worker, current, WorkerEnd::Superseded));
            }
        }
        let registered = WorkerRegistered {
            worker: registration.worker.clone(),
            incarnation: registration.incarnation,
            endpoint_url: registration.endpoint_url.clone(),
            max_capacity: registration.max_capacity,
            labels: registration.labels.clone(),
        };
        let stream = StreamId::Worker(registration.incarnation);
        events.push((stream, Event::WorkerRegistered(Box::new(registered))));
        Ok(events)
    }

    /// The process has ended.
    pub fn decide_left(
        &self,
        worker: &WorkerName,
        incarnation: Incarnation,
        cause: WorkerEnd,
    ) -> Option<(StreamId, Event)> {
        (self.incarnation == Some(incarnation) && !self.left).then(|| left(worker, incarnation, cause))
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::WorkerRegistered(registered) => {
                self.incarnation = Some(registered.incarnation);
                self.left = false;
            }
            Event::WorkerLeft(left) if self.incarnation == Some(left.incarnation) => self.left = true,
            _ => {}
        }
    }
}

fn left(worker: &WorkerName, incarnation: Incarnation, cause: WorkerEnd) -> (StreamId, Event) {
    let event = Event::WorkerLeft(WorkerLeft {
        worker: worker.clone(),
        incarnation,
        cause,
    });
    (StreamId::Worker(incarnation), event)
}
