//! Which shards this process serves: opened when the group assigns them, closed when it takes them away, made anew by
//! a factory when they end.
//!
//! Must stay true: a shard is claimed only after a proof that the group still has it here; a partition is released
//! only when nothing works on it any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::actor::{Arrived, Close, Opened, ShardActor};
use super::host::Host;
use super::machine::{Loaded, Shard, ShardOptions};
use crate::bus::{Member, Membership, Ownership, Start, Subscription, Topic};
use crate::clock;
use crate::domain::{Seq, ShardId};
use crate::log::QuarantineSource;

/// Why a shard's actor is over.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("it was told to close")]
    Closed,
    #[error("a newer owner has claimed it")]
    Fenced,
    #[error("the log refuses its batch for good: {0}")]
    Refused(String),
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
    readers: Vec<JoinHandle<()>>,
    failures: u32,
    releasing: bool,
}

/// Makes, watches and ends the shards of this process.
pub struct Supervisor {
    host: Arc<Host>,
    member: Member,
    arbiters: Vec<Arbiter>,
    slots: BTreeMap<u16, Slot>,
    leaving: Option<tokio::sync::oneshot::Sender<()>>,
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
        if self
            .slots
            .get(&partition)
            .is_none_or(|slot| slot.generation != generation || slot.releasing)
        {
            return;
        }
        let opening = open(Arc::clone(&self.host), self.member.clone(), partition, generation);
        ctx.spawn(opening.into_actor(self).map(move |opened, actor, ctx| match opened {
            Ok((opened, readers)) => actor.opened(partition, opened, readers, ctx),
            Err(why) => actor.failed(partition, generation, &why, ctx),
        }));
    }

    fn opened(&mut self, partition: u16, opened: Opened, readers: Readers, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        if slot.generation != opened.generation || slot.releasing {
            // Revoked meanwhile: nothing works on it yet.
            let released = slot.releasing.then(|| self.slots.remove(&partition)).flatten();
            if released.is_some() {
                self.member.release(partition);
            }
            return;
        }
        let (host, supervisor, gate) = (
            Arc::clone(&self.host),
            ctx.address().recipient(),
            opened.gate.subscribe(),
        );
        let arbiter = &self.arbiters[usize::from(partition) % self.arbiters.len()];
        tracing::info!(shard = partition, epoch = opened.machine.epoch().0, "shard.opened");
        let address =
            ShardActor::start_in_arbiter(&arbiter.handle(), move |_| ShardActor::new(host, supervisor, opened));
        slot.failures = 0;
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
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        if slot.releasing {
            self.slots.remove(&partition);
            return self.member.release(partition);
        }
        if slot.generation != generation {
            return;
        }
        slot.failures += 1;
        let wait = Duration::from_millis((50 << slot.failures.min(8)).min(5_000));
        tracing::warn!(shard = partition, why, failures = slot.failures, "shard.open.failed");
        metrics::counter!("grid_shard_restarts_total").increment(1);
        self.open_later(partition, generation, wait, ctx);
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
                // One that is being opened is released when that has come to its end.
                if let Some(address) = slot.address.clone() {
                    crate::task::spawn("close_shard", async move { _ = address.send(Close).await });
                }
            }
            Ownership::Lost { partition } => {
                self.host.set_assigned(ShardId(partition), false);
                if let Some(address) = self.slots.remove(&partition).and_then(|slot| slot.address) {
                    crate::task::spawn("close_shard", async move { _ = address.send(Close).await });
                }
            }
        }
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ();
    fn handle(&mut self, ended: Ended, ctx: &mut Context<Self>) {
        let partition = ended.shard.0;
        self.host.followers.disowned(ended.shard);
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        if slot.generation != ended.generation {
            return;
        }
        slot.address = None;
        slot.readers.drain(..).for_each(|reader| reader.abort());
        match ended.ending {
            Ending::Closed if slot.releasing => {
                self.slots.remove(&partition);
                self.member.release(partition);
                self.check_left();
            }
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

struct Readers {
    commands: Subscription,
    reports: Subscription,
}

/// Proof, claim, load, in this order; then the shard's partitions from its cursor.
async fn open(host: Arc<Host>, member: Member, partition: u16, generation: u64) -> Result<(Opened, Readers), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    member
        .prove(partition, generation)
        .await
        .map_err(|error| text(&error))?;
    let shard = ShardId(partition);
    let claimed = host
        .journal
        .claim(shard, &host.jobmaster.to_string())
        .await
        .map_err(|error| text(&error))?;
    let loaded = host
        .log
        .load(&claimed, clock::now())
        .await
        .map_err(|error| text(&error))?;
    let same_bus = *claimed.cursor.bus == *host.bus.identity();
    let start = |offset| {
        if same_bus {
            Start::Offset(offset)
        } else {
            Start::Beginning
        }
    };
    let commands = host
        .bus
        .subscribe(Topic::Commands, partition, start(claimed.cursor.commands))
        .await;
    let commands = commands.map_err(|error| text(&error))?;
    let reports = host
        .bus
        .subscribe(Topic::Reports, partition, start(claimed.cursor.reports))
        .await;
    let reports = reports.map_err(|error| text(&error))?;
    let bus = host.bus.identity();
    let commands_passed = loaded
        .poisoned_commands
        .into_iter()
        .map(|offset| (QuarantineSource::Command, offset));
    let reports_passed = loaded
        .poisoned_reports
        .into_iter()
        .map(|offset| (QuarantineSource::Report, offset));
    let quarantined = commands_passed.chain(reports_passed).collect();
    let options = ShardOptions {
        shard,
        shards: host.shards,
        timeline: host.timeline,
        jobmaster: host.jobmaster,
        chunk_events: host.options.chunk_events as usize,
        most_staged: host.options.most_staged_events as usize,
        most_parked: host.options.most_parked_commands as usize,
        snapshot_events: host.options.snapshot_events as usize,
        seed: rand::random(),
    };
    let cursor = crate::log::Cursor {
        bus: Arc::from(bus),
        commands: commands.position(),
        reports: reports.position(),
    };
    // On another bus nothing has been published yet.
    let published = if same_bus { claimed.published } else { Seq(0) };
    host.followers.owned(shard, claimed.epoch, claimed.next_seq, published);
    let machine = Shard::load(
        options,
        Loaded {
            epoch: claimed.epoch,
            next_seq: claimed.next_seq,
            last_at: claimed.last_at,
            cursor,
            jobs: loaded.jobs,
            changed: loaded.changed,
            finished: loaded.finished,
            workers: loaded.workers,
            tail_events: loaded.tail_events,
        },
    );
    let dead = host.directory().watch(&machine.incarnations(), clock::now());
    let (gate, _) = watch::channel(true);
    let opened = Opened {
        shard,
        generation,
        machine,
        published,
        closed_before: claimed.closed_before,
        dead,
        quarantined,
        gate,
    };
    Ok((opened, Readers { commands, reports }))
}

/// How many records a shard is given at a time.
const MOST_RECORDS: usize = 256;

fn reader(
    name: &'static str,
    source: QuarantineSource,
    mut subscription: Subscription,
    to: Addr<ShardActor>,
    mut gate: watch::Receiver<bool>,
) -> JoinHandle<()> {
    crate::task::spawn(name, async move {
        loop {
            if gate.wait_for(|open| *open).await.is_err() {
                return;
            }
            let mut records = Vec::new();
            if let Err(error) = subscription.recv_many(&mut records, MOST_RECORDS).await {
                tracing::error!(%error, "shard.reader.ended");
                _ = to.send(super::actor::ReaderFailed(error.to_string())).await;
                return;
            }
            if to.send(Arrived { source, records }).await.is_err() {
                return;
            }
        }
    })
}
