//! A worker's own history: which process bears its name, and since when, and whether it gets work.
//!
//! A cordon is of the name: a new process of a cordoned name begins cordoned, and its own history says so. A drain is of
//! the process: it ends with it.
//!
//! Must stay true: a command is carried out once, even if it arrives again after another has taken it back.

use std::collections::VecDeque;

use uuid::Uuid;

use super::event::{
    Event, StreamId, WorkerCordoned, WorkerDrainRequested, WorkerEnd, WorkerLeft, WorkerRegistered, WorkerUncordoned,
};
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

/// How many commands a name remembers, so that one that arrives again late takes nothing back.
pub const REMEMBERED_WISHES: usize = 16;

/// The process that bears a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerHistory {
    pub incarnation: Option<Incarnation>,
    /// Whether that process has left.
    pub left: bool,
    /// It gets no new work.
    pub cordoned: bool,
    /// That process was told to finish and leave.
    pub draining: bool,
    /// The latest commands that changed this, of the name.
    pub commands: VecDeque<Uuid>,
}

/// What a worker process is told of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Takes no new work; what runs goes on.
    pub cordoned: bool,
    /// Finishes, hands back what has not begun, and leaves.
    pub draining: bool,
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
        if self.cordoned {
            let cordoned = WorkerCordoned {
                worker: registration.worker.clone(),
                incarnation: registration.incarnation,
                inherited: true,
            };
            events.push((stream, Event::WorkerCordoned(cordoned)));
        }
        Ok(events)
    }

    /// No new work for this name, whichever process bears it, until that is taken back.
    ///
    /// # Errors
    /// When no process ever registered under the name.
    pub fn decide_cordon(&self, worker: &WorkerName) -> Result<Vec<(StreamId, Event)>, Refusal> {
        let incarnation = self.known(worker)?;
        if self.cordoned {
            return Ok(Vec::new());
        }
        let cordoned = WorkerCordoned {
            worker: worker.clone(),
            incarnation,
            inherited: false,
        };
        Ok(vec![(StreamId::Worker(incarnation), Event::WorkerCordoned(cordoned))])
    }

    /// Work again, as far as the process is there and does not drain.
    ///
    /// # Errors
    /// As [`WorkerHistory::decide_cordon`].
    pub fn decide_uncordon(&self, worker: &WorkerName) -> Result<Vec<(StreamId, Event)>, Refusal> {
        let incarnation = self.known(worker)?;
        if !self.cordoned {
            return Ok(Vec::new());
        }
        let uncordoned = WorkerUncordoned {
            worker: worker.clone(),
            incarnation,
        };
        Ok(vec![(
            StreamId::Worker(incarnation),
            Event::WorkerUncordoned(uncordoned),
        )])
    }

    /// No new work for the name, and the process that bears it finishes and leaves.
    ///
    /// # Errors
    /// As [`WorkerHistory::decide_cordon`]; and when the process has left without having been cordoned: there is nobody
    /// to drain.
    pub fn decide_drain(&self, worker: &WorkerName) -> Result<Vec<(StreamId, Event)>, Refusal> {
        let incarnation = self.known(worker)?;
        if self.left {
            // What was wanted is so: no process, and none that gets work when it comes.
            if self.cordoned {
                return Ok(Vec::new());
            }
            return Err(Refusal::new(
                RefusalCode::WorkerLeft,
                format!("{worker} has left: there is nothing to drain; cordon it to keep its next process from work"),
            ));
        }
        let mut events = self.decide_cordon(worker)?;
        if !self.draining {
            let requested = WorkerDrainRequested {
                worker: worker.clone(),
                incarnation,
            };
            events.push((StreamId::Worker(incarnation), Event::WorkerDrainRequested(requested)));
        }
        Ok(events)
    }

    /// Whether this command has been carried out already.
    pub fn remembers(&self, command: Uuid) -> bool {
        self.commands.contains(&command)
    }

    /// This command has been carried out.
    pub fn remember(&mut self, command: Uuid) {
        if self.remembers(command) {
            return;
        }
        if self.commands.len() == REMEMBERED_WISHES {
            self.commands.pop_front();
        }
        self.commands.push_back(command);
    }

    fn known(&self, worker: &WorkerName) -> Result<Incarnation, Refusal> {
        self.incarnation
            .ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("there is no {worker}")))
    }

    /// What the process that bears the name is told.
    pub const fn standing(&self) -> Standing {
        Standing {
            cordoned: self.cordoned,
            draining: self.draining,
        }
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
                *self = Self {
                    incarnation: Some(registered.incarnation),
                    commands: std::mem::take(&mut self.commands),
                    // Said again at once when the process before it was.
                    ..Self::default()
                };
            }
            Event::WorkerLeft(left) if self.incarnation == Some(left.incarnation) => self.left = true,
            Event::WorkerCordoned(event) if self.incarnation == Some(event.incarnation) => self.cordoned = true,
            Event::WorkerUncordoned(event) if self.incarnation == Some(event.incarnation) => self.cordoned = false,
            Event::WorkerDrainRequested(event) if self.incarnation == Some(event.incarnation) => self.draining = true,
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
