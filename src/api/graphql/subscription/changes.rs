//! Many jobs or tasks: what has changed in a short while is read at once, and given in the order of the last changes.
//!
//! Must stay true: the token of an item names, of its shard, the last event of that item's object among those that were
//! gathered; everything before it was given.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{JobChange, Source, TaskChange};
use crate::api::Api;
use crate::api::graphql::fault::Answer;
use crate::api::graphql::job::Job;
use crate::api::graphql::task::Task;
use crate::api::live::Follower;
use crate::api::problem::Problem;
use crate::api::view::JobView;
use crate::domain::{JobId, Position, Seq, ShardId, StreamId, TaskId};
use crate::log::StoredEvent;
use crate::projection::PositionToken;

/// How long changes are gathered.
const WINDOW: Duration = Duration::from_millis(25);

/// Objects by key, each with the place of its shard of which it is.
type Found<K> = HashMap<<K as Kind>::Key, (<K as Kind>::Object, Seq)>;

/// What kind of objects is followed.
pub trait Kind: Sized + Send + Sync + 'static {
    type Key: Copy + Eq + Hash + Send + Sync;
    type Object: Send;
    type Item: Send;
    fn key(event: &StoredEvent) -> Option<Self::Key>;
    /// The objects of keys of one shard that are there, as they are at `place` or later, and of which place they are.
    fn read(
        api: &Api,
        keys: Vec<Self::Key>,
        place: Position,
    ) -> impl Future<Output = Result<Found<Self>, Problem>> + Send;
    fn item(object: Option<Self::Object>, position: String) -> Self::Item;
}

pub struct Jobs;

impl Kind for Jobs {
    type Key = JobId;
    type Object = Job;
    type Item = JobChange;

    fn key(event: &StoredEvent) -> Option<JobId> {
        event.job()
    }

    async fn read(api: &Api, keys: Vec<JobId>, place: Position) -> Result<Found<Self>, Problem> {
        let reads = join_all(keys.into_iter().map(|key| api.rows.job(key, place))).await;
        let mut found = HashMap::new();
        for at in reads {
            if let Some(at) = at? {
                found.insert(at.row.id, (JobView::from(at.row).into(), at.through));
            }
        }
        Ok(found)
    }

    fn item(job: Option<Job>, position: String) -> JobChange {
        JobChange { job, position }
    }
}

pub struct Tasks;

impl Kind for Tasks {
    type Key = TaskId;
    type Object = Task;
    type Item = TaskChange;

    fn key(event: &StoredEvent) -> Option<TaskId> {
        match event.stream {
            StreamId::Task(task) => Some(task),
            StreamId::Job(_) | StreamId::Worker(_) => None,
        }
    }

    async fn read(api: &Api, keys: Vec<TaskId>, place: Position) -> Result<Found<Self>, Problem> {
        let rows = api.rows.tasks(keys, place).await?;
        let mut found = HashMap::new();
        for at in rows {
            let (id, through) = (at.row.id, at.through);
            if let Some(view) = api.task_of_row(at.row).await? {
                found.insert(id, (view.into(), through));
            }
        }
        Ok(found)
    }

    fn item(task: Option<Task>, position: String) -> TaskChange {
        TaskChange { task, position }
    }
}

pub struct Changes<K: Kind> {
    api: Arc<Api>,
    follower: Follower,
    _kind: K,
    ready: VecDeque<K::Item>,
    /// Gathered and not yet read: the last event of each.
    gathered: BTreeMap<ShardId, HashMap<K::Key, Seq>>,
    /// Where the items that were given have come to.
    given: BTreeMap<ShardId, Seq>,
    /// Objects that were read at a place beyond that of the follower.
    ahead: HashMap<K::Key, (ShardId, Seq)>,
    told: PositionToken,
    tell_at: Instant,
}

impl<K: Kind> Changes<K> {
    pub fn new(api: &Arc<Api>, follower: Follower, kind: K) -> Self {
        let told = follower.token();
        Self {
            api: Arc::clone(api),
            given: follower.have().clone(),
            follower,
            _kind: kind,
            ready: VecDeque::new(),
            gathered: BTreeMap::new(),
            ahead: HashMap::new(),
            told,
            tell_at: Instant::now() + api.token_interval(),
        }
    }

    fn gather(&mut self, events: Vec<StoredEvent>) {
        for event in events {
            let Position { shard, seq } = event.position;
            let Some(key) = K::key(&event) else { continue };
            if self.ahead.get(&key).is_some_and(|(_, through)| *through >= seq) {
                continue;
            }
            self.gathered.entry(shard).or_default().insert(key, seq);
        }
    }

    /// Reads what was gathered.
    async fn read(&mut self) -> Answer<()> {
        while let Some((&shard, keys)) = self.gathered.first_key_value() {
            let last = keys.values().max().copied().unwrap_or_default();
            let place = Position { shard, seq: last };
            let mut found = match K::read(&self.api, keys.keys().copied().collect(), place).await {
                // Late is not wrong: it is asked for until it is there.
                Err(problem) if problem.code == "READ_MODEL_BEHIND" => continue,
                other => other?,
            };
            let mut keys: Vec<(Seq, K::Key)> = keys.iter().map(|(key, seq)| (*seq, *key)).collect();
            keys.sort_unstable_by_key(|(seq, _)| *seq);
            for (seq, key) in keys {
                let Some((object, through)) = found.remove(&key) else {
                    continue;
                };
                self.ahead.insert(key, (shard, through));
                self.given.insert(shard, seq);
                let position = self.api.parts.live.token(&self.given).to_string();
                self.ready.push_back(K::item(Some(object), position));
            }
            self.gathered.remove(&shard);
        }
        self.given.clone_from(self.follower.have());
        let given = &self.given;
        self.ahead
            .retain(|_, (shard, through)| given.get(shard).is_none_or(|given| given < through));
        Ok(())
    }

    /// A token alone, when it is time for one and it is news.
    fn sign(&mut self) -> Option<K::Item> {
        self.tell_at = Instant::now() + self.api.token_interval();
        self.follower.settle();
        let token = self.follower.token();
        if token == self.told {
            return None;
        }
        self.given.clone_from(self.follower.have());
        let position = token.to_string();
        self.told = token;
        Some(K::item(None, position))
    }
}

impl<K: Kind> Source for Changes<K> {
    type Item = K::Item;

    async fn next(&mut self) -> Answer<Option<K::Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                if self.ready.is_empty() {
                    self.told = self.follower.token();
                    self.tell_at = Instant::now() + self.api.token_interval();
                }
                return Ok(Some(item));
            }
            let events = tokio::select! {
                events = self.follower.next() => events?,
                () = tokio::time::sleep_until(self.tell_at) => match self.sign() {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                },
            };
            self.gather(events);
            if self.gathered.is_empty() {
                continue;
            }
            tokio::time::sleep(WINDOW).await;
            let more = self.follower.at_hand();
            self.gather(more);
            self.read().await?;
        }
    }
}
