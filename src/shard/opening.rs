//! Opening a shard: proof of ownership, claim, load, in this order; then its partitions from its cursor.

use std::fmt;
use std::sync::Arc;

use actix::Addr;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::actor::{Arrived, Opened, ShardActor};
use super::host::Host;
use super::machine::{Loaded, Shard, ShardOptions};
use super::poison::Careful;
use super::traces::Traces;
use crate::bus::{BusError, Member, Start, Subscription, Topic};
use crate::clock;
use crate::domain::{Seq, ShardId};
use crate::log::QuarantineSource;

/// What an attempt to open a shard begins with.
pub(super) struct Opening {
    pub host: Arc<Host>,
    pub member: Member,
    pub partition: u16,
    pub generation: u64,
    pub careful: Careful,
}

/// Why a shard was not opened.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// It may go well the next time.
    Failed(String),
    /// What its cursor points at is gone: it stays closed until somebody has accepted that.
    Lost(String),
}

impl NotOpened {
    pub fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

impl From<BusError> for NotOpened {
    fn from(error: BusError) -> Self {
        match error {
            BusError::OutOfRange { .. } => Self::Lost(format!(
                "{error}: the topic was lost or made anew, or its messages passed their retention; to go on without \
                 what lay between, run `grid migrate --accept-lost-topic`"
            )),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Whether what the shard's cursor points at is there again. Claims nothing: the shard may be opened by then, or not.
pub(super) async fn is_there_again(host: Arc<Host>, partition: u16) -> Result<bool, NotOpened> {
    let stored = host
        .log
        .stored_cursor(ShardId(partition))
        .await
        .map_err(NotOpened::failed)?;
    if *stored.cursor.bus != *host.bus.identity() {
        return Ok(true);
    }
    for (topic, offset) in [
        (Topic::Commands, stored.cursor.commands),
        (Topic::Reports, stored.cursor.reports),
    ] {
        let (low, high) = host.bus.range(topic, partition).await?;
        if !(low..=high).contains(&offset) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) struct Readers {
    pub commands: Subscription,
    pub reports: Subscription,
}

/// Proof, claim, load, in this order; then the shard's partitions from its cursor.
pub(super) async fn open(opening: Opening) -> Result<(Opened, Readers), NotOpened> {
    let Opening {
        host,
        member,
        partition,
        generation,
        careful,
    } = opening;
    member.prove(partition, generation).await.map_err(NotOpened::failed)?;
    let shard = ShardId(partition);
    let claimed = host
        .journal
        .claim(shard, &host.jobmaster.to_string())
        .await
        .map_err(NotOpened::failed)?;
    let loaded = host.log.load(&claimed, clock::now()).await.map_err(NotOpened::failed)?;
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
        .await?;
    let reports = host
        .bus
        .subscribe(Topic::Reports, partition, start(claimed.cursor.reports))
        .await?;
    let cursor = crate::log::Cursor {
        bus: Arc::from(host.bus.identity()),
        commands: commands.position(),
        reports: reports.position(),
    };
    let quarantined = host
        .log
        .quarantined_places(shard, &cursor)
        .await
        .map_err(NotOpened::failed)?;
    let traces = Traces::of(&host.log, &loaded.jobs).await;
    // On another bus nothing has been published yet.
    let published = if same_bus { claimed.published } else { Seq(0) };
    let machine = Shard::load(
        options(&host, shard),
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
            format: claimed.format,
            closed_before: claimed.closed_before,
        },
    );
    let dead = host.directory().watch(&machine.incarnations(), clock::now());
    let (gate, _) = watch::channel(true);
    let opened = Opened {
        shard,
        generation,
        machine,
        published,
        dead,
        quarantined,
        careful,
        gate,
        traces,
    };
    Ok((opened, Readers { commands, reports }))
}

fn options(host: &Host, shard: ShardId) -> ShardOptions {
    ShardOptions {
        shard,
        shards: host.shards,
        timeline: host.timeline,
        jobmaster: host.jobmaster,
        chunk_events: host.options.chunk_events as usize,
        most_staged: host.options.most_staged_events as usize,
        most_parked: host.options.most_parked_commands as usize,
        snapshot_events: host.options.snapshot_events as usize,
        seed: rand::random(),
    }
}

/// How many records a shard is given at a time.
const MOST_RECORDS: usize = 256;

/// A task that reads one of a shard's partitions; it ends with this.
pub(super) struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn reader(
    name: &'static str,
    source: QuarantineSource,
    mut subscription: Subscription,
    to: Addr<ShardActor>,
    mut gate: watch::Receiver<bool>,
) -> Reading {
    Reading(crate::task::spawn(name, async move {
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
    }))
}
