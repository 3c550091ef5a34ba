//! The simulated log: what Postgres does for the real one, with epochs, commits whole or not at all, and snapshots.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Epoch, Event, Fact, Incarnation, Job, JobId, Seq, StreamId, Timestamp, WorkerHistory, WorkerName};
use crate::event::EventRecord;
use crate::log::{Cursor, Format};
use crate::shard::{Batch, JobSnapshot, Loaded};
use crate::sim::mutant::{self, Mutant};

/// One shard's row and events.
pub struct ShardLog {
    pub epoch: Epoch,
    pub events: Vec<EventRecord>,
    pub cursor: Cursor,
    /// Up to where the events are published, as their publishers have said in commits.
    pub published: Seq,
    pub snapshots: BTreeMap<JobId, (Seq, bool, Vec<u8>)>,
    pub snapshot_seq: Seq,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Fenced,
}

impl ShardLog {
    pub fn new() -> Self {
        Self {
            epoch: Epoch(0),
            events: Vec::new(),
            cursor: Cursor {
                bus: "sim".into(),
                commands: 0,
                reports: 0,
            },
            published: Seq(0),
            snapshots: BTreeMap::new(),
            snapshot_seq: Seq(0),
        }
    }

    pub fn next_seq(&self) -> Seq {
        Seq(self.events.len() as u64 + 1)
    }

    pub fn commit(&mut self, batch: &Batch) -> Outcome {
        let fenced = batch.epoch != self.epoch || batch.first_seq != self.next_seq();
        if fenced && !mutant::is(Mutant::NoEpochCheck) {
            return Outcome::Fenced;
        }
        self.events.extend(batch.events.iter().cloned());
        self.cursor = batch.cursor.clone();
        Outcome::Committed
    }

    pub fn write_snapshots(&mut self, epoch: Epoch, upto: Seq, snapshots: Vec<JobSnapshot>) {
        if epoch != self.epoch {
            return;
        }
        for snapshot in snapshots {
            self.snapshots
                .insert(snapshot.job, (upto, snapshot.at_rest, snapshot.bytes));
        }
        self.snapshot_seq = upto;
    }

    /// A new epoch, and then all that an owner needs.
    pub fn claim(&mut self) -> Result<Loaded, String> {
        self.epoch.0 += 1;
        let mut jobs = BTreeMap::new();
        for (id, (seq, at_rest, bytes)) in &self.snapshots {
            let touched = self
                .events
                .iter()
                .skip(seq.0 as usize)
                .any(|record| job_of(record) == Some(*id));
            if !at_rest || touched {
                let job = Job::from_snapshot(bytes).map_err(|error| error.to_string())?;
                jobs.insert(*id, (*seq, job));
            }
        }
        for (index, record) in self.events.iter().enumerate().skip(self.snapshot_seq.0 as usize) {
            fold(&mut jobs, Seq(index as u64 + 1), record)?;
        }
        let changed: BTreeSet<JobId> = self
            .events
            .iter()
            .skip(self.snapshot_seq.0 as usize)
            .filter_map(job_of)
            .collect();
        let known: BTreeSet<JobId> = self.events.iter().filter_map(job_of).collect();
        let (mut live, mut finished) = (Vec::new(), Vec::new());
        for id in known {
            let job = jobs.remove(&id).map(|(_, job)| job);
            if job.as_ref().is_none_or(Job::is_at_rest) {
                finished.push(id);
            }
            live.extend(job);
        }
        Ok(Loaded {
            epoch: self.epoch,
            next_seq: self.next_seq(),
            last_at: self.events.last().map_or(Timestamp::ZERO, |record| record.meta.at),
            cursor: self.cursor.clone(),
            jobs: live,
            changed: changed.into_iter().collect(),
            finished,
            workers: self.workers(),
            tail_events: self.events.len() - self.snapshot_seq.0 as usize,
            format: Format::known(),
            closed_before: 0,
        })
    }

    /// A job folded from its first event.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, String> {
        Ok(self.jobs(&BTreeSet::from([id]))?.remove(&id))
    }

    /// Jobs folded from their first events.
    pub fn jobs(&self, wanted: &BTreeSet<JobId>) -> Result<BTreeMap<JobId, Job>, String> {
        let mut jobs = BTreeMap::new();
        for (index, record) in self.events.iter().enumerate() {
            if job_of(record).is_some_and(|job| wanted.contains(&job)) {
                fold(&mut jobs, Seq(index as u64 + 1), record)?;
            }
        }
        Ok(jobs.into_iter().map(|(id, (_, job))| (id, job)).collect())
    }

    pub fn workers(&self) -> Vec<(WorkerName, WorkerHistory, u32)> {
        let mut workers: BTreeMap<WorkerName, (WorkerHistory, u32)> = BTreeMap::new();
        let mut names: BTreeMap<Incarnation, WorkerName> = BTreeMap::new();
        for record in &self.events {
            let StreamId::Worker(incarnation) = record.stream else {
                continue;
            };
            if let Event::WorkerRegistered(registered) = &record.event {
                names.insert(incarnation, registered.worker.clone());
            }
            let Some(name) = names.get(&incarnation) else { continue };
            let entry = workers.entry(name.clone()).or_default();
            entry.0.apply(&record.event);
            if let Some(command) = record.meta.command {
                entry.0.remember(command);
            }
            entry.1 = record.version;
        }
        workers
            .into_iter()
            .map(|(name, (history, version))| (name, history, version))
            .collect()
    }
}

pub fn job_of(record: &EventRecord) -> Option<JobId> {
    match record.stream {
        StreamId::Job(job) => Some(job),
        StreamId::Task(task) => Some(task.job),
        StreamId::Worker(_) => None,
    }
}

fn fold(jobs: &mut BTreeMap<JobId, (Seq, Job)>, seq: Seq, record: &EventRecord) -> Result<(), String> {
    let Some(id) = job_of(record) else { return Ok(()) };
    if let Event::JobSubmitted(submitted) = &record.event {
        jobs.insert(
            id,
            (seq, Job::submitted(id, submitted, record.meta.at, record.meta.command)),
        );
        return Ok(());
    }
    let Some((upto, job)) = jobs.get_mut(&id) else {
        return Err(format!("{id} has no beginning"));
    };
    if seq <= *upto {
        return Ok(());
    }
    let task = if let StreamId::Task(task) = record.stream {
        task.number
    } else {
        0
    };
    let (version, at, command) = (record.version, record.meta.at, record.meta.command);
    job.apply(Fact {
        task,
        version,
        at,
        command,
        event: &record.event,
    })
    .map_err(|error| format!("{id}: {error}"))
}
