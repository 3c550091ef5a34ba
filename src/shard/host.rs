//! What all shards of a process share: the bus, the log, credits, the directory of workers, and how to wake each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use actix::Recipient;
use bytes::Bytes;
use tokio::sync::watch;

use super::actor::{Gone, Wake};
use super::beats::BeatSoon;
use super::closing::CloseDays;
use super::credits::CreditPool;
use super::directory::{Directory, LiveWorker};
use super::machine::WorkerGone;
use super::placing::Placing;
use crate::bus::Bus;
use crate::domain::{Epoch, Incarnation, Seq, ShardId, Timestamp, WorkerName};
use crate::event::EventRecord;
use crate::log::{JournalHandle, Log};

/// A commit, as those hear of it who follow the log.
#[derive(Clone, Debug)]
pub struct Committed {
    pub shard: ShardId,
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub records: Arc<[EventRecord]>,
    /// The bytes of the same events, as in the log.
    pub payloads: Arc<[Bytes]>,
}

/// Those who follow what shards commit; calls must not block.
pub trait Followers: Send + Sync + 'static {
    /// This process owns the shard from now on; `next` is the place of its next event.
    fn owned(&self, shard: ShardId, epoch: Epoch, next: Seq, published: Seq);
    fn committed(&self, committed: Committed);
    /// It does not own it any more.
    fn disowned(&self, shard: ShardId);
    /// Up to where the shard's events are published; `None` when nobody publishes them.
    fn published(&self, shard: ShardId) -> Option<Seq>;
}

pub struct Host {
    pub bus: Arc<dyn Bus>,
    pub log: Log,
    pub journal: JournalHandle,
    pub followers: Arc<dyn Followers>,
    pub jobmaster: Incarnation,
    pub timeline: uuid::Uuid,
    pub shards: u16,
    pub options: super::JobmasterOptions,
    credits: Mutex<CreditPool>,
    directory: Mutex<Directory>,
    addresses: RwLock<HashMap<ShardId, Address>>,
    beats: RwLock<Option<Recipient<BeatSoon>>>,
    /// As workers were last told: whether it is hungry, and for whose credits not.
    told_hunger: Mutex<(bool, Vec<Incarnation>)>,
    /// Shards that the group has assigned to this process.
    assigned: RwLock<BTreeSet<ShardId>>,
    /// Of these the ones that cannot be opened until somebody has done something, and what.
    stopped: RwLock<BTreeMap<ShardId, String>>,
    /// Why the ones that ended last, or could not be opened, did so, and when. They are tried again.
    failed: RwLock<BTreeMap<ShardId, (Instant, String)>>,
    conditions: RwLock<Vec<(&'static str, Condition)>>,
    /// The days before this one (since 1970) shall be closed.
    close_before: AtomicI32,
    /// A later timeline of the log, once it was heard of.
    restored: watch::Sender<Option<uuid::Uuid>>,
}

/// Shards whose failure is told one by one: most fail for the same reason.
const MOST_TOLD: usize = 3;

/// For how long a failure of a shard says why it does not answer: a few tries.
const FRESH: Duration = Duration::from_secs(15);

/// What something waits for; `None`: nothing.
type Condition = Box<dyn Fn() -> Option<String> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Address {
    /// Of the assignment for which the shard was opened.
    pub generation: u64,
    pub wake: Recipient<Wake>,
    pub gone: Recipient<Gone>,
    pub close: Recipient<CloseDays>,
}

/// What a host is made of.
pub struct HostParts {
    pub bus: Arc<dyn Bus>,
    pub log: Log,
    pub journal: JournalHandle,
    pub followers: Arc<dyn Followers>,
    pub jobmaster: Incarnation,
    pub timeline: uuid::Uuid,
    pub shards: u16,
    pub options: super::JobmasterOptions,
    pub directory: Directory,
}

impl Host {
    pub fn new(parts: HostParts) -> Self {
        Self {
            bus: parts.bus,
            log: parts.log,
            journal: parts.journal,
            followers: parts.followers,
            jobmaster: parts.jobmaster,
            timeline: parts.timeline,
            shards: parts.shards,
            options: parts.options,
            credits: Mutex::new(CreditPool::default()),
            directory: Mutex::new(parts.directory),
            addresses: RwLock::new(HashMap::new()),
            beats: RwLock::new(None),
            told_hunger: Mutex::default(),
            assigned: RwLock::new(BTreeSet::new()),
            stopped: RwLock::new(BTreeMap::new()),
            failed: RwLock::new(BTreeMap::new()),
            conditions: RwLock::new(Vec::new()),
            close_before: AtomicI32::new(0),
            restored: watch::Sender::new(None),
        }
    }

    /// Somebody works on a later timeline of the log than this process.
    pub(super) fn heard_of(&self, newer: uuid::Uuid) {
        self.restored
            .send_if_modified(|known| known.replace(newer) != Some(newer));
    }

    /// Waits until a later timeline of the log is heard of: this process works on what has not happened, and must end.
    pub async fn restored(&self) -> uuid::Uuid {
        let mut heard = self.restored.subscribe();
        loop {
            if let Some(newer) = *heard.borrow_and_update() {
                return newer;
            }
            if heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn credits(&self) -> MutexGuard<'_, CreditPool> {
        // A turn that panicked leaves whole credits: each change is one step.
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, shard: ShardId, address: Address) {
        self.addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, address);
    }

    /// The actor of that generation is over. One that is late must not take its successor's place with it.
    pub(super) fn leave(&self, shard: ShardId, generation: u64) {
        let left = self
            .addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extract_if(|it, address| *it == shard && address.generation == generation)
            .next()
            .is_some();
        if left {
            self.credits().end_turn(shard, super::Hunger::None);
        }
    }

    /// Wakes the shard whose turn at the credits it is. `me` needs no waking.
    pub(super) fn wake_next(&self, me: Option<ShardId>) {
        let next = self.credits().next_to_wake(me);
        let Some(shard) = next else { return };
        let address = self
            .addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .cloned();
        match address {
            // A full mailbox is a shard that is awake.
            Some(address) => drop(address.wake.try_send(Wake)),
            None => self.credits().end_turn(shard, super::Hunger::None),
        }
    }

    pub(super) fn set_beats(&self, beats: Recipient<BeatSoon>) {
        *self.beats.write().unwrap_or_else(PoisonError::into_inner) = Some(beats);
    }

    /// Whether workers think otherwise about this process' hunger; they are regarded as told from now on.
    pub(super) fn hunger_is_news(&self) -> bool {
        let hunger = self.credits().hunger();
        let mut told = self.told_hunger.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *told, hunger.clone()) != hunger
    }

    /// Tells the workers when this process begins or ceases to have READY tasks that wait.
    pub(super) fn tell_hunger(&self) {
        if self.hunger_is_news()
            && let Some(beats) = &*self.beats.read().unwrap_or_else(PoisonError::into_inner)
        {
            // A full mailbox: a beat goes out every two seconds anyway.
            drop(beats.try_send(BeatSoon));
        }
    }

    /// Tells all shards of dead worker processes.
    pub(super) fn tell_gone(&self, gone: &[WorkerGone]) {
        if gone.is_empty() {
            return;
        }
        let addresses: Vec<Address> = self
            .addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        for gone in gone {
            tracing::info!(incarnation = %gone.incarnation, end = ?gone.end, "worker.gone");
            for address in &addresses {
                let (to, message) = (address.gone.clone(), Gone(*gone));
                // Waits for room: a shard that does not hear of it would keep the attempts for ever.
                crate::task::spawn("tell_gone", async move { _ = to.send(message).await });
            }
        }
    }

    /// Tells all shards that the days before this one (since 1970) shall be closed; those that open later ask.
    pub(super) fn close_days(&self, before: i32) {
        self.close_before.fetch_max(before, Ordering::SeqCst);
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        for address in addresses.values() {
            let to = address.close.clone();
            crate::task::spawn("close_days", async move { _ = to.send(CloseDays(before)).await });
        }
    }

    pub(super) fn close_before(&self) -> i32 {
        self.close_before.load(Ordering::SeqCst)
    }

    /// The live fields of a worker.
    pub fn live_worker(&self, name: &WorkerName, now: Timestamp) -> Option<LiveWorker> {
        self.directory().live(name, now)
    }

    /// The workers that are heard, and the addresses of their endpoints.
    pub fn worker_endpoints(&self, now: Timestamp) -> BTreeMap<WorkerName, String> {
        self.directory().endpoints(now)
    }

    /// What this process knows of placing the tasks of a shard.
    pub fn placing(&self, shard: ShardId, now: Timestamp) -> Placing {
        let here = self
            .addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&shard);
        let failing = (!here).then(|| self.trouble(shard)).flatten();
        let stopped = self.stopped.read().unwrap_or_else(PoisonError::into_inner);
        let stopped = stopped.get(&shard).cloned();
        let directory = self.directory();
        Placing {
            here,
            stopped,
            failing,
            connected: directory.is_connected(now),
            lost_after: self.options.worker_lost_after,
            workers: directory.candidates(now, &self.credits()),
        }
    }

    pub(super) fn set_assigned(&self, shard: ShardId, assigned: bool) {
        let mut shards = self.assigned.write().unwrap_or_else(PoisonError::into_inner);
        if assigned {
            shards.insert(shard)
        } else {
            shards.remove(&shard)
        };
        drop(shards);
        self.set_stopped(shard, None);
        let mut failed = self.failed.write().unwrap_or_else(PoisonError::into_inner);
        failed.remove(&shard);
    }

    pub(super) fn set_failed(&self, shard: ShardId, why: &str) {
        let mut failed = self.failed.write().unwrap_or_else(PoisonError::into_inner);
        failed.insert(shard, (Instant::now(), why.to_owned()));
    }

    /// Why a shard of this process does not work at the moment, when it does not.
    pub fn trouble(&self, shard: ShardId) -> Option<String> {
        let stopped = self.stopped.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = stopped.get(&shard) {
            return Some(why.clone());
        }
        let failed = self.failed.read().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = failed.get(&shard)?;
        (at.elapsed() < FRESH).then(|| why.clone())
    }

    /// The shards that are assigned and not loaded, of which it is known why.
    fn not_loaded(&self) -> Vec<String> {
        let assigned = self.assigned.read().unwrap_or_else(PoisonError::into_inner);
        let serving = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        let stopped = self.stopped.read().unwrap_or_else(PoisonError::into_inner);
        let failed = self.failed.read().unwrap_or_else(PoisonError::into_inner);
        let away = |shard: &&ShardId| !serving.contains_key(shard) && !stopped.contains_key(shard);
        let told = |shard: &ShardId| failed.get(shard).map(|(_, why)| format!("shard {shard}: {why}"));
        assigned.iter().filter(away).filter_map(told).take(MOST_TOLD).collect()
    }

    pub(super) fn set_stopped(&self, shard: ShardId, why: Option<String>) {
        let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => stopped.insert(shard, why),
            None => stopped.remove(&shard),
        };
        metrics::gauge!("grid_shards_stopped").set(stopped.len() as f64);
    }

    /// Adds to what the process waits for before it is ready.
    pub fn wait_for(&self, what: &'static str, condition: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.conditions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((what, Box::new(condition)));
    }

    /// What the process still waits for; empty: it is ready.
    pub fn waiting_for(&self) -> Vec<String> {
        let serving = self.addresses.read().unwrap_or_else(PoisonError::into_inner).len();
        let assigned = self.assigned.read().unwrap_or_else(PoisonError::into_inner).len();
        let mut waiting = Vec::new();
        if assigned == 0 {
            waiting.push("shards: none is assigned to this process yet".to_owned());
        } else if serving < assigned {
            waiting.push(format!("shards: {serving} of {assigned} are loaded"));
            waiting.extend(self.not_loaded());
        }
        let stopped = self.stopped.read().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(
            stopped
                .iter()
                .map(|(shard, why)| format!("shard {shard} is stopped: {why}")),
        );
        let conditions = self.conditions.read().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(
            conditions
                .iter()
                .filter_map(|(what, pending)| Some(format!("{what}: {}", pending()?))),
        );
        waiting
    }
}
