//! The one place of a process that hears of commits and knows who follows what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::inbox::{Inbox, Keep};
use super::topic::TopicReader;
use crate::api::problem::Problem;
use crate::bus::Bus;
use crate::domain::{JobId, Seq, ShardId, StreamId, TaskId};
use crate::log::{Log, Selection, StoredEvent};
use crate::shard::Committed;

/// Where the hub hears of events.
#[derive(Clone)]
pub enum Source {
    /// Every shard is of this process, and it is told of each commit.
    Commits,
    /// The topic of events: shards are of several processes.
    Topic(Arc<dyn Bus>),
}

/// What a hub is made of.
pub struct HubParts {
    pub log: Log,
    pub timeline: Uuid,
    pub shards: u16,
    pub source: Source,
}

/// What is followed.
pub type Scope = Selection;

/// Handle to the live feed of the process; cheap to clone.
#[derive(Clone)]
pub struct Hub(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub parts: HubParts,
    /// Of each shard the last event that the feed has brought, or that was in the log when it began.
    heads: Vec<AtomicU64>,
    index: Mutex<Index>,
    followers: AtomicUsize,
    /// Held while the feed is begun or ended.
    pub feed: tokio::sync::Mutex<Feed>,
}

pub(super) enum Feed {
    Off,
    /// Told of commits; `heads` are those of the log or later.
    Told,
    Reading {
        _readers: TopicReader,
    },
}

#[derive(Default)]
struct Index {
    next: u64,
    everything: HashMap<u64, Arc<Inbox>>,
    workers: HashMap<u64, Arc<Inbox>>,
    jobs: HashMap<JobId, Vec<Place>>,
}

struct Place {
    number: u64,
    /// Only this task's events.
    task: Option<TaskId>,
    inbox: Arc<Inbox>,
}

/// A place in the index; dropping it leaves.
pub(super) struct Ticket {
    hub: Hub,
    number: u64,
    pub scope: Scope,
    pub inbox: Arc<Inbox>,
}

impl Hub {
    pub fn new(parts: HubParts) -> Self {
        let heads = (0..parts.shards).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner {
            parts,
            heads,
            index: Mutex::default(),
            followers: AtomicUsize::new(0),
            feed: tokio::sync::Mutex::new(Feed::Off),
        }))
    }

    pub fn timeline(&self) -> Uuid {
        self.0.parts.timeline
    }

    pub fn shards(&self) -> u16 {
        self.0.parts.shards
    }

    pub fn log(&self) -> &Log {
        &self.0.parts.log
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.0.followers.load(Ordering::Acquire)
    }

    /// The shards that have events of the scope.
    pub(super) fn shards_of(&self, scope: Scope) -> Vec<ShardId> {
        let of_job = |job: JobId| vec![job.shard(self.shards())];
        match scope {
            Selection::Everything | Selection::Workers => (0..self.shards()).map(ShardId).collect(),
            Selection::Job(job) => of_job(job),
            Selection::Task(task) => of_job(task.job),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self, shard: ShardId) -> Option<&AtomicU64> {
        self.0.heads.get(usize::from(shard.0))
    }

    /// Follows from now on: whatever is committed after this has returned comes into the inbox, or a gap.
    pub(super) async fn enter(&self, scope: Scope, keep: Keep) -> Result<Ticket, Problem> {
        let inbox = Arc::new(Inbox::new(keep));
        let number = self.index().enter(scope, &inbox);
        let followers = self.0.followers.fetch_add(1, Ordering::AcqRel) + 1;
        metrics::gauge!("grid_live_followers").set(followers as f64);
        let ticket = Ticket {
            hub: self.clone(),
            number,
            scope,
            inbox,
        };
        self.begin_feed().await?;
        Ok(ticket)
    }

    async fn begin_feed(&self) -> Result<(), Problem> {
        let mut feed = self.0.feed.lock().await;
        if !matches!(*feed, Feed::Off) {
            return Ok(());
        }
        let begun = match &self.0.parts.source {
            Source::Commits => Feed::Told,
            Source::Topic(bus) => Feed::Reading {
                _readers: TopicReader::start(self, bus).await?,
            },
        };
        let heads = self.0.parts.log.last_seqs().await;
        for (shard, seq) in heads.map_err(|error| Problem::database(&error))? {
            if let Some(head) = self.head(shard) {
                head.fetch_max(seq.0, Ordering::AcqRel);
            }
        }
        *feed = begun;
        Ok(())
    }

    /// A process has the shard from now on, whose last event is `last`: earlier ones may have been committed unheard.
    pub fn owned(&self, shard: ShardId, last: Seq) {
        if !matches!(self.0.parts.source, Source::Commits) {
            return;
        }
        let index = self.index();
        let before = self.raise(shard, last);
        if before < last {
            index.gap((shard, last), self.shards());
        }
    }

    /// Events were committed.
    pub fn committed(&self, committed: &Committed) {
        let Committed { shard, first_seq, .. } = *committed;
        if !matches!(self.0.parts.source, Source::Commits) || committed.records.is_empty() {
            return;
        }
        let last = Seq(first_seq.0 + committed.records.len() as u64 - 1);
        if self.followers() == 0 {
            self.raise(shard, last);
            return;
        }
        let index = self.index();
        self.bring(&index, shard, first_seq, last);
        let places = committed.records.iter().zip(&*committed.payloads).zip(first_seq.0..);
        for ((record, payload), seq) in places {
            if index.wants(record.stream) {
                index.deliver(&StoredEvent {
                    position: crate::domain::Position { shard, seq: Seq(seq) },
                    stream: record.stream,
                    version: record.version,
                    day: record.day(),
                    payload: payload.clone(),
                });
            }
        }
    }

    /// One event was read from the topic; it is made only when somebody wants it.
    pub(super) fn read(&self, shard: ShardId, seq: Seq, stream: StreamId, make: impl FnOnce() -> Option<StoredEvent>) {
        let index = self.index();
        if !self.bring(&index, shard, seq, seq) || !index.wants(stream) {
            return;
        }
        match make() {
            Some(event) => index.deliver(&event),
            // The log has it.
            None => index.gap((shard, seq), self.shards()),
        }
    }

    /// Notes that a shard's events `first` to `last` have come; tells whether they are new. What is missing before them
    /// is told to those whom it may concern.
    fn bring(&self, index: &Index, shard: ShardId, first: Seq, last: Seq) -> bool {
        let before = self.raise(shard, last);
        if before.0 + 1 < first.0 {
            metrics::counter!("grid_live_gaps_total").increment(1);
            index.gap((shard, Seq(first.0 - 1)), self.shards());
        }
        before < last
    }

    /// Whether the feed has brought the place.
    pub(super) fn has_heard(&self, place: crate::domain::Position) -> bool {
        let heard = |head: &AtomicU64| head.load(Ordering::Acquire) >= place.seq.0;
        place.seq.0 == 0 || self.head(place.shard).is_some_and(heard)
    }

    fn raise(&self, shard: ShardId, last: Seq) -> Seq {
        self.head(shard)
            .map_or(last, |head| Seq(head.fetch_max(last.0, Ordering::AcqRel)))
    }

    /// Up to where the feed has brought everything of these shards, when nothing waits in the inbox.
    pub(super) fn settled(&self, ticket: &Ticket, shards: &[ShardId]) -> Option<Vec<(ShardId, Seq)>> {
        // Whoever brings events holds the index from raising the head to the last inbox.
        let _index = self.index();
        if !ticket.inbox.is_empty() {
            return None;
        }
        let at = |shard: &ShardId| {
            let seq = self.head(*shard)?.load(Ordering::Acquire);
            Some((*shard, Seq(seq)))
        };
        Some(shards.iter().filter_map(at).collect())
    }
}

impl Index {
    fn enter(&mut self, scope: Scope, inbox: &Arc<Inbox>) -> u64 {
        self.next += 1;
        let number = self.next;
        let inbox = Arc::clone(inbox);
        match scope {
            Selection::Everything => drop(self.everything.insert(number, inbox)),
            Selection::Workers => drop(self.workers.insert(number, inbox)),
            Selection::Job(job) => self.jobs.entry(job).or_default().push(Place {
                number,
                task: None,
                inbox,
            }),
            Selection::Task(task) => self.jobs.entry(task.job).or_default().push(Place {
                number,
                task: Some(task),
                inbox,
            }),
        }
        number
    }

    fn leave(&mut self, scope: Scope, number: u64) {
        let job = match scope {
            Selection::Everything => return drop(self.everything.remove(&number)),
            Selection::Workers => return drop(self.workers.remove(&number)),
            Selection::Job(job) => job,
            Selection::Task(task) => task.job,
        };
        if let Some(places) = self.jobs.get_mut(&job) {
            places.retain(|place| place.number != number);
            if places.is_empty() {
                self.jobs.remove(&job);
            }
        }
    }

    fn wants(&self, stream: StreamId) -> bool {
        !self.everything.is_empty()
            || match stream {
                StreamId::Worker(_) => !self.workers.is_empty(),
                StreamId::Job(job) => self.jobs.contains_key(&job),
                StreamId::Task(task) => self.jobs.contains_key(&task.job),
            }
    }

    fn deliver(&self, event: &StoredEvent) {
        for inbox in self.everything.values() {
            inbox.push(event);
        }
        let (job, task) = match event.stream {
            StreamId::Worker(_) => {
                for inbox in self.workers.values() {
                    inbox.push(event);
                }
                return;
            }
            StreamId::Job(job) => (job, None),
            StreamId::Task(task) => (task.job, Some(task)),
        };
        for place in self.jobs.get(&job).into_iter().flatten() {
            if place.task.is_none() || place.task == task {
                place.inbox.push(event);
            }
        }
    }

    /// Whoever follows anything of the shard is told: a gap may hold anything.
    fn gap(&self, (shard, through): (ShardId, Seq), shards: u16) {
        let concerned = self.jobs.iter().filter(|(job, _)| job.shard(shards) == shard);
        let jobs = concerned.flat_map(|(_, places)| places).map(|place| &place.inbox);
        for inbox in self.everything.values().chain(self.workers.values()).chain(jobs) {
            inbox.gap(shard, through);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.hub.index().leave(self.scope, self.number);
        let followers = self.hub.0.followers.fetch_sub(1, Ordering::AcqRel) - 1;
        metrics::gauge!("grid_live_followers").set(followers as f64);
    }
}
