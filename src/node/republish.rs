//! Fills the topic of events from the log: a new one, an emptied one, or one whose beginning is lost.
//!
//! Must stay true: a partition has one writer at a time. Whoever publishes a shard's events anew claims the shard first, as
//! its owner would, and remembers in the shard's row how far it is; an owner that comes, or comes back, fences it and goes
//! on from there, in an epoch of its own. So every message has its place, and readers need no rule but the one they have.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;

use super::database::Database;
use super::stores::open_log;
use crate::bus::{self, Bus, OrderedProducer, Record, Start, Topic};
use crate::config::whole::Config;
use crate::domain::{Seq, ShardId};
use crate::log::{Head, Log, Publication, REPUBLISHER};
use crate::publish::{Batch, Incoming, Item, Run, encode};

/// How long the first message of a partition, or an acknowledgement, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages at the end of a partition among which its newest event is looked for: one who has lost the shard may have
/// published a batch of older ones behind it.
const LOOK_BACK: i64 = 5_000;
/// Failures of the brokers in a row before giving up.
const MOST_FAILURES: u32 = 10;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Republished {
    /// Shards whose events were published anew, or the rest of them.
    pub shards: u64,
    pub events: u64,
    /// Shards that had everything already.
    pub complete: u64,
    /// Shards whose owner goes on.
    pub left_to_owners: u64,
    /// Events that cannot be published; the log of the process says which and why.
    pub passed_over: u64,
    /// Events of days that were dropped from the log: they are in archives alone, and are not published anew.
    pub archived: u64,
}

/// Publishes what the topic of events lacks.
///
/// # Errors
/// When database or brokers do not answer. What was published stays; the next run goes on from there.
pub async fn republish(config: &Config) -> anyhow::Result<Republished> {
    anyhow::ensure!(config.kafka.brokers.is_some(), "kafka.brokers is not set: give --kafka");
    let database = Database::open(config).await?;
    let done = async {
        let (log, setup) = open_log(config, database.url(), None).await?;
        for change in bus::migrate(&config.bus, &config.kafka, setup.shards).await? {
            tracing::info!(%change, "migrate.topic");
        }
        let bus = bus::open_to(&[Topic::Events], &config.bus, &config.kafka, setup.shards).await?;
        let retired = log.retired_days().await?;
        let mut republisher = Republisher {
            producer: bus.ordered_producer()?,
            source: Bytes::from(format!("/grid/{}", setup.timeline)),
            most_bytes: config.bus.max_message_bytes as usize,
            page_events: config.publish.page_events as usize,
            log: log.clone(),
            done: Republished {
                archived: retired.iter().map(|(_, events)| events).sum(),
                ..Republished::default()
            },
        };
        let result = republisher.all(&*bus).await;
        bus.close(Duration::from_secs(5)).await?;
        log.close().await;
        result.map(|()| republisher.done)
    };
    let done = done.await;
    database.close().await?;
    done
}

struct Republisher {
    log: Log,
    producer: OrderedProducer,
    source: Bytes,
    most_bytes: usize,
    page_events: usize,
    done: Republished,
}

impl Republisher {
    async fn all(&mut self, bus: &dyn Bus) -> anyhow::Result<()> {
        for head in self.log.heads().await? {
            let shard = head.shard;
            match self.begin(bus, &head).await? {
                None => self.done.complete += 1,
                Some(from) => {
                    let claimed = self.log.claim_publication(shard, from).await?;
                    tracing::info!(
                        shard = shard.0,
                        from = from.0,
                        head = claimed.next_seq.0 - 1,
                        "republish.shard"
                    );
                    if self.shard(shard, from, claimed).await? {
                        self.done.shards += 1;
                    } else {
                        tracing::info!(shard = shard.0, "republish.owner_goes_on");
                        self.done.left_to_owners += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// After which event to publish; `None`: the partition has all of them, or its owner is about to see to it.
    async fn begin(&self, bus: &dyn Bus, head: &Head) -> anyhow::Result<Option<Seq>> {
        let last = Seq(head.next_seq.0 - 1);
        if last == Seq(0) {
            return Ok(None);
        }
        let Some((begins, newest)) = self.holds(bus, head.shard).await? else {
            return Ok(Some(Seq(0)));
        };
        // The cursor in the log is moved by later commits only: the topic itself may know better.
        if begins && newest >= last {
            return Ok(None);
        }
        // Begun by an earlier run, or never interrupted: what the cursor says is there.
        let begun = begins || head.owner == REPUBLISHER;
        let from = if begun { head.published } else { Seq(0) };
        Ok((from < last).then_some(from))
    }

    /// Whether the shard's partition has the beginning of this log, and the highest place at its end; nothing when it holds
    /// no message, or those of another timeline.
    async fn holds(&self, bus: &dyn Bus, shard: ShardId) -> anyhow::Result<Option<(bool, Seq)>> {
        let (low, high) = bus.range(Topic::Events, shard.0).await?;
        let ours = |message: &Incoming| message.source.as_bytes() == self.source;
        let mut newest = None;
        scan(bus, shard, low.max(high - LOOK_BACK)..high, |message| {
            if ours(message) {
                newest = newest.max(Some(message.position));
            }
            true
        })
        .await?;
        let Some(newest) = newest else { return Ok(None) };
        // What an owner published before somebody filled the topic stands in front of the beginning.
        let mut begins = false;
        scan(bus, shard, low..high, |message| {
            begins = ours(message) && message.previous == Seq(0);
            !begins
        })
        .await?;
        Ok(Some((begins, newest)))
    }

    /// False: an owner has claimed the shard meanwhile.
    async fn shard(&mut self, shard: ShardId, from: Seq, claimed: Publication) -> anyhow::Result<bool> {
        let (mut read, mut published) = (from, from);
        let mut failures = 0;
        loop {
            let page = self.log.events_after(shard, read, self.page_events).await?;
            if page.through == read {
                return Ok(true);
            }
            let items = page.events.into_iter().map(|event| Item {
                seq: event.position.seq,
                stream: event.stream,
                version: event.version,
                payload: event.payload,
            });
            let run = Run {
                shard,
                epoch: claimed.epoch,
                after: published,
                items: items.collect(),
            };
            let mut encoded = encode(&Batch { runs: vec![run] }, &self.source, self.most_bytes);
            let messages = std::mem::take(&mut encoded.messages);
            let (count, last) = (messages.len(), encoded.places.last().map(|(_, _, seq)| *seq));
            if let Err(error) = self.producer.publish(messages, PATIENCE).await {
                failures += 1;
                tracing::warn!(shard = shard.0, %error, "republish.interrupted");
                anyhow::ensure!(failures < MOST_FAILURES, "{error}; run it again to go on from here");
                self.producer.resume().await;
                // Those that arrived come again: readers skip them.
                continue;
            }
            failures = 0;
            for (shard, seq, why) in &encoded.passed_over {
                tracing::error!(shard = shard.0, seq = seq.0, why, "publish.event.passed_over");
            }
            self.done.events += count as u64;
            self.done.passed_over += encoded.passed_over.len() as u64;
            published = last.unwrap_or(published);
            read = page.through;
            if !self.log.published(shard, claimed.epoch, published).await? {
                return Ok(false);
            }
        }
    }
}

/// Shows the messages of the shard's partition at these offsets, until `more` wants no more.
async fn scan(
    bus: &dyn Bus,
    shard: ShardId,
    offsets: Range<i64>,
    mut more: impl FnMut(&Incoming) -> bool,
) -> anyhow::Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut reader = bus
        .subscribe(Topic::Events, shard.0, Start::Offset(offsets.start))
        .await?;
    let mut records: Vec<Record> = Vec::new();
    while reader.position() < offsets.end {
        tokio::time::timeout(PATIENCE, reader.recv_many(&mut records, 1_000))
            .await
            .with_context(|| format!("messages of shard {shard} do not arrive"))??;
        for record in records.drain(..) {
            if !more(&Incoming::read(&record.message)?) {
                return Ok(());
            }
        }
    }
    Ok(())
}
