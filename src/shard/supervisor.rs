//! Which shards this process serves: opened when the group assigns them, closed when it takes them away, made anew by
//! a factory when they end.
//!
//! Must stay true: a shard is claimed only after a proof that the group still has it here; a partition is released
//! only when nothing works on it any more.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures::FutureExt;

use super::actor::{Close, Opened, ShardActor};
use super::closing::Hearing;
use super::host::Host;
use super::machine::Taken;
use super::opening::{NotOpened, Opening, Readers, Reading, is_there_again, open, reader};
use super::poison::{Careful, panic_text};
use crate::bus::{Member, Membership, Ownership};
use crate::domain::{Seq, ShardId};
use crate::log::QuarantineSource;

/// Why a shard's actor is over.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("it was told to close")]
    Closed,
    #[error("a newer owner has claimed it")]
    Fenced,
    #[error("the log refuses its batch for good: {why}")]
    Refused { why: String, taken: Taken },
    #[error("what became of its commit is unknown: {0}")]
    Unknown(String),
    #[error("a turn failed: {0}")]
    Poisoned(String),
    #[error("the log: {0}")]
    Log(String),
    #[error("the bus: {0}")]
    Bus(String),
}

#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub shard: ShardId,
    pub generation: u64,
    pub ending: Ending,
    /// A message is to blame and was counted against, which happens only a few times.
    pub counted: bool,
}

impl Message for Ended {
    type Result = ();
}

struct News(Ownership);

impl Message for News {
    type Result = ();
}

/// Closes all shards and leaves the group; answers when that is done.
struct Leave;

impl Message for Leave {
    type Result = ();
}

struct Slot {
    generation: u64,
    address: Option<Addr<ShardActor>>,
    readers: Vec<Reading>,
    failures: u32,
    opened_at: Option<Instant>,
    careful: Careful,
    /// An attempt to open it is under way.
    opening: bool,
    releasing: bool,
}

/// A shard that ran for so long was not opened in vain.
const STEADY: Duration = Duration::from_secs(30);
/// How often it is looked whether a stopped shard can be opened.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Makes, watches and ends the shards of this process.
pub struct Supervisor {
    host: Arc<Host>,
    member: Member,
    arbiters: Vec<Arbiter>,
    slots: BTreeMap<u16, Slot>,
    leaving: Option<tokio::sync::oneshot::Sender<()>>,
    hearing: Option<Hearing>,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct SupervisorHandle {
    address: Addr<Supervisor>,
    host: Arc<Host>,
}

impl SupervisorHandle {
    /// Closes all shards and leaves the group, so that others take over at once.
    pub async fn leave(&self) {
        _ = self.address.send(Leave).await;
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

impl Supervisor {
    /// Starts serving what the membership assigns. Must run on an actix system.
    pub fn start(host: Arc<Host>, mut membership: Membership) -> SupervisorHandle {
        let threads = match host.options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => usize::from(threads),
        };
        let member = membership.member();
        let arbiters = (0..threads.max(1)).map(|_| Arbiter::new()).collect();
        let supervisor = Self {
            host: Arc::clone(&host),
            member,
            arbiters,
            slots: BTreeMap::new(),
            leaving: None,
            hearing: Some(Hearing::start(&host)),
        };
        let address = supervisor.start();
        let news = address.clone();
        crate::task::spawn("membership", async move {
            while let Some(ownership) = membership.next().await {
                if news.send(News(ownership)).await.is_err() {
                    break;
                }
            }
        });
        SupervisorHandle { address, host }
    }

    fn open_later(&mut self, partition: u16, generation: u64, wait: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(wait, move |actor, ctx| actor.open(partition, generation, ctx));
    }

    fn open(&mut self, partition: u16, generation: u64, ctx: &mut Context<Self>) {
        let slot = self.slots.get_mut(&partition);
        let Some(slot) = slot.filter(|slot| slot.generation == generation && !slot.releasing) else {
            return;
        };
        slot.opening = true;
        let opening = open(Opening {
            host: Arc::clone(&self.host),
            member: self.member.clone(),
            partition,
            generation,
            careful: slot.careful,
        });
        // What is in the log can make the loading panic: that must not end the shards that are open.
        let opening = AssertUnwindSafe(opening).catch_unwind();
        ctx.spawn(opening.into_actor(self).map(move |opened, actor, ctx| {
            let slot = actor.slots.get_mut(&partition);
            if let Some(slot) = slot.filter(|slot| slot.generation == generation) {
                slot.opening = false;
            }
            match opened {
                Ok(Ok((opened, readers))) => actor.opened(partition, opened, readers, ctx),
                Ok(Err(NotOpened::Failed(why))) => actor.failed(partition, generation, &why, ctx),
                Ok(Err(NotOpened::Lost(why))) => actor.stopped(partition, generation, why, ctx),
                Err(panic) => actor.failed(partition, generation, &panic_text(panic.as_ref()), ctx),
            }
        }));
    }

    fn opened(&mut self, partition: u16, opened: Opened, readers: Readers, ctx: &mut Context<Self>) {
        let slot = self.slots.get_mut(&partition);
        let Some(slot) = slot.filter(|slot| slot.generation == opened.generation) else {
            return;
        };
        if slot.releasing {
            // Nothing works on it yet.
            return self.give_back(partition);
        }
        let (epoch, head) = (opened.machine.epoch(), opened.machine.position().seq);
        self.host
            .followers
            .owned(opened.shard, epoch, Seq(head.0 + 1), opened.published);
        let (host, supervisor, gate) = (
            Arc::clone(&self.host),
            ctx.address().recipient(),
            opened.gate.subscribe(),
        );
        let arbiter = &self.arbiters[usize::from(partition) % self.arbiters.len()];
        tracing::info!(shard = partition, epoch = epoch.0, "shard.opened");
        let address =
            ShardActor::start_in_arbiter(&arbiter.handle(), move |_| ShardActor::new(host, supervisor, opened));
        slot.opened_at = Some(Instant::now());
        slot.readers = vec![
            reader(
                "read_commands",
                QuarantineSource::Command,
                readers.commands,
                address.clone(),
                gate.clone(),
            ),
            reader(
                "read_reports",
                QuarantineSource::Report,
                readers.reports,
                address.clone(),
                gate,
            ),
        ];
        slot.address = Some(address);
    }

    fn failed(&mut self, partition: u16, generation: u64, why: &str, ctx: &mut Context<Self>) {
        let slot = self.slots.get_mut(&partition);
        let Some(slot) = slot.filter(|slot| slot.generation == generation) else {
            return;
        };
        if slot.releasing {
            return self.give_back(partition);
        }
        slot.failures += 1;
        let wait = Duration::from_millis((50 << slot.failures.min(8)).min(5_000));
        tracing::warn!(shard = partition, why, failures = slot.failures, "shard.open.failed");
        self.host.set_failed(ShardId(partition), why);
        metrics::counter!("grid_shard_restarts_total").increment(1);
        self.open_later(partition, generation, wait, ctx);
    }

    /// The shard stays closed: to claim it again and again would change nothing. It is only looked whether somebody has
    /// moved its cursor.
    fn stopped(&mut self, partition: u16, generation: u64, why: String, ctx: &mut Context<Self>) {
        let slot = self.slots.get(&partition);
        if slot.is_none_or(|slot| slot.releasing || slot.generation != generation) {
            return self.failed(partition, generation, &why, ctx);
        }
        tracing::error!(shard = partition, why, "shard.stopped");
        self.host.set_stopped(ShardId(partition), Some(why));
        Self::look_again(partition, generation, ctx);
    }

    fn look_again(partition: u16, generation: u64, ctx: &mut Context<Self>) {
        ctx.run_later(LOOK_EVERY, move |actor, ctx| {
            let slot = actor.slots.get(&partition);
            if slot.is_none_or(|slot| slot.generation != generation) {
                return;
            }
            let looking = is_there_again(Arc::clone(&actor.host), partition);
            ctx.spawn(looking.into_actor(actor).map(move |found, actor, ctx| match found {
                Ok(true) => {
                    actor.host.set_stopped(ShardId(partition), None);
                    actor.open(partition, generation, ctx);
                }
                Ok(false) => Self::look_again(partition, generation, ctx),
                Err(error) => {
                    tracing::warn!(shard = partition, ?error, "shard.stopped.unknown");
                    Self::look_again(partition, generation, ctx);
                }
            }));
        });
    }

    /// Nothing works on the partition any more: whoever comes next may have it.
    fn give_back(&mut self, partition: u16) {
        self.slots.remove(&partition);
        self.member.release(partition);
        self.check_left();
    }

    fn check_left(&mut self) {
        if self.slots.is_empty()
            && let Some(leaving) = self.leaving.take()
        {
            _ = leaving.send(());
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
    }
}

impl Handler<News> for Supervisor {
    type Result = ();
    fn handle(&mut self, News(news): News, ctx: &mut Context<Self>) {
        match news {
            Ownership::Assigned { partition, generation } => {
                self.host.set_assigned(ShardId(partition), true);
                let old = self.slots.insert(
                    partition,
                    Slot {
                        generation,
                        address: None,
                        readers: Vec::new(),
                        failures: 0,
                        opened_at: None,
                        careful: Careful::default(),
                        opening: false,
                        releasing: false,
                    },
                );
                if let Some(address) = old.and_then(|slot| slot.address) {
                    drop(address.try_send(Close));
                }
                self.open(partition, generation, ctx);
            }
            Ownership::Revoked { partition } => {
                self.host.set_assigned(ShardId(partition), false);
                let Some(slot) = self.slots.get_mut(&partition) else {
                    return self.member.release(partition);
                };
                slot.releasing = true;
                match slot.address.clone() {
                    Some(address) => {
                        crate::task::spawn("close_shard", async move { _ = address.send(Close).await });
                    }
                    // Released when that has come to its end.
                    None if slot.opening => {}
                    // It waits for its next try, or is stopped.
                    None => self.give_back(partition),
                }
            }
            Ownership::Lost { partition } => {
                self.host.set_assigned(ShardId(partition), false);
                if let Some(address) = self.slots.remove(&partition).and_then(|slot| slot.address) {
                    crate::task::spawn("close_shard", async move { _ = address.send(Close).await });
                }
                self.check_left();
            }
        }
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ();
    fn handle(&mut self, ended: Ended, ctx: &mut Context<Self>) {
        let partition = ended.shard.0;
        let slot = self.slots.get_mut(&partition);
        if slot.as_ref().is_some_and(|slot| slot.generation != ended.generation) {
            // It was lost and has been assigned again; those who follow know the later one, or will.
            return;
        }
        self.host.followers.disowned(ended.shard);
        let Some(slot) = slot else { return };
        // Otherwise what ended it was there from the beginning: each new try comes later than the last.
        if slot.opened_at.take().is_some_and(|opened| opened.elapsed() >= STEADY) {
            slot.failures = 0;
        }
        if ended.counted {
            slot.failures = slot.failures.saturating_sub(1);
        }
        if let Ending::Refused { taken, .. } = &ended.ending {
            slot.careful = slot.careful.and(*taken);
        }
        slot.address = None;
        slot.readers.clear();
        match ended.ending {
            Ending::Closed if slot.releasing => self.give_back(partition),
            Ending::Closed => {
                self.slots.remove(&partition);
                self.check_left();
            }
            ending => self.failed(partition, ended.generation, &ending.to_string(), ctx),
        }
    }
}

impl Handler<Leave> for Supervisor {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Leave, _: &mut Context<Self>) -> Self::Result {
        let (sender, left) = tokio::sync::oneshot::channel();
        self.leaving = Some(sender);
        self.hearing = None;
        self.slots.retain(|_, slot| slot.address.is_some());
        for slot in self.slots.values() {
            if let Some(address) = slot.address.clone() {
                crate::task::spawn("close_shard", async move { _ = address.send(Close).await });
            }
        }
        self.check_left();
        let member = self.member.clone();
        Box::pin(async move {
            drop(tokio::time::timeout(Duration::from_secs(5), left).await);
            member.leave().await;
        })
    }
}
