//! Workers' own histories, kept in the shard that their names belong to: who bears a name, and whether it gets work.
//!
//! Must stay true: what a worker is told of itself is a function of its history: it is told with its registration, when
//! it changes, at a load, and when its inventory shows that it believes otherwise.

use super::machine::{HomeWorker, Shard};
use super::staging::{Output, WorkerAnswer};
use crate::domain::event::WorkerEnd;
use crate::domain::{
    Event, Incarnation, Refusal, RefusalCode, Registration, Standing, StreamId, WorkerHistory, WorkerName,
};
use crate::event::{Command, Meta};
use crate::log::Format;

/// What a worker's history makes of a wish.
type Decide = fn(&WorkerHistory, &WorkerName) -> Result<Vec<(StreamId, Event)>, Refusal>;

impl Shard {
    pub(super) fn register(&mut self, registration: &Registration, meta: &Meta) -> Result<(), Refusal> {
        let name = &registration.worker;
        let home = self.workers.get(name);
        let unknown = WorkerHistory::default();
        let history = home.map_or(&unknown, |home| &home.history);
        let mut next = HomeWorker {
            history: history.clone(),
            version: home.map_or(0, |home| home.version),
        };
        for (stream, event) in history.decide_register(registration)? {
            next.history.apply(&event);
            // The end of the process before it goes to that one's stream.
            let version = if matches!(event, Event::WorkerRegistered(_)) {
                1
            } else {
                next.version + 1
            };
            next.version = version;
            self.record_of_worker(stream, version, event, meta);
        }
        self.workers.insert(name.clone(), next);
        Ok(())
    }

    pub(super) fn worker_left(&mut self, name: &WorkerName, incarnation: Incarnation, end: WorkerEnd, meta: &Meta) {
        let Some(home) = self.workers.get_mut(name) else { return };
        let Some((stream, event)) = home.history.decide_left(name, incarnation, end) else {
            return;
        };
        home.history.apply(&event);
        home.version += 1;
        let version = home.version;
        self.record_of_worker(stream, version, event, meta);
    }

    /// Cordons, uncordons or drains.
    pub(super) fn wish_of_worker(&mut self, name: &WorkerName, decide: Decide, meta: &Meta) -> Result<(), Refusal> {
        let Some(home) = self.workers.get_mut(name) else {
            return Err(Refusal::new(RefusalCode::NotFound, format!("there is no {name}")));
        };
        if meta.command.is_some_and(|command| home.history.remembers(command)) {
            return Ok(());
        }
        let events = decide(&home.history, name)?;
        for (_, event) in &events {
            Format::of_event(event).allowed_by(self.format)?;
        }
        // One that changes nothing is in no event: it is known as long as the shard stays here.
        if let Some(command) = meta.command {
            home.history.remember(command);
        }
        let mut staged = Vec::with_capacity(events.len());
        for (stream, event) in events {
            home.history.apply(&event);
            home.version += 1;
            staged.push((stream, home.version, event));
        }
        let changed = !staged.is_empty();
        for (stream, version, event) in staged {
            self.record_of_worker(stream, version, event, meta);
        }
        if changed {
            self.tell_standing(name);
        }
        Ok(())
    }

    fn tell_standing(&mut self, name: &WorkerName) {
        let Some(home) = self.workers.get(name).filter(|home| !home.history.left) else {
            return;
        };
        let Some(incarnation) = home.history.incarnation else {
            return;
        };
        let told = Output::Standing {
            worker: name.clone(),
            incarnation,
            standing: home.history.standing(),
        };
        self.staged.outputs.push(told);
    }

    /// After a load: whoever does not simply work is told so again.
    pub(super) fn tell_standings(&mut self) {
        let unusual = |(_, home): &(&WorkerName, &HomeWorker)| home.history.standing() != Standing::default();
        let names: Vec<WorkerName> = self
            .workers
            .iter()
            .filter(unusual)
            .map(|(name, _)| name.clone())
            .collect();
        if mutant!(ForgottenCordon) {
            return;
        }
        for name in names {
            self.tell_standing(&name);
        }
    }

    /// A worker says how it believes to stand; only the shard where its history lives knows.
    pub(super) fn compare_standing(&mut self, name: &WorkerName, incarnation: Incarnation, believed: Standing) {
        let differs = self
            .workers
            .get(name)
            .is_some_and(|home| home.history.incarnation == Some(incarnation) && home.history.standing() != believed);
        if differs && !mutant!(ForgottenCordon) {
            self.tell_standing(name);
        }
    }

    /// What the answer to a registration says: it must be known before the first credit is granted.
    pub(super) fn standing_to_answer(&self, command: &Command) -> Option<Standing> {
        let Command::RegisterWorker { registration } = command else {
            return None;
        };
        self.standing_of(registration)
    }

    /// How the process stands that has registered, when it is not as usual.
    fn standing_of(&self, registration: &Registration) -> Option<Standing> {
        let home = self.workers.get(&registration.worker)?;
        let standing = home.history.standing();
        let is_this = home.history.incarnation == Some(registration.incarnation);
        (is_this && standing != Standing::default() && !mutant!(SilentRegistration)).then_some(standing)
    }

    /// A worker says that it has begun.
    pub(super) fn worker_began(&mut self, registration: &Registration, meta: &Meta) {
        let answer = match self.register(registration, meta) {
            Ok(()) => WorkerAnswer::Registered(self.standing_of(registration).unwrap_or_default()),
            Err(_) => WorkerAnswer::Superseded,
        };
        self.tell(&registration.worker, registration.incarnation, answer);
    }

    pub(super) fn tell(&mut self, worker: &WorkerName, incarnation: Incarnation, answer: WorkerAnswer) {
        self.staged.outputs.push(Output::Tell {
            worker: worker.clone(),
            incarnation,
            answer,
        });
    }
}
