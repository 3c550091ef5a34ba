//! The feed of a process that does not own every shard: the topic of events, all partitions, from its end.
//!
//! Must stay true: messages are judged by the consumer's rule (schema/events.md); a lost subscription goes on where it
//! stopped, or else leaves a gap that the log fills; the topic is read only while somebody follows, and a while longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use super::hub::{Feed, Hub};
use crate::api::problem::Problem;
use crate::bus::{Bus, BusError, Message, Record, RecvError, Start, Subscription, Topic};
use crate::domain::{Incarnation, JobId, Position, ShardId, StreamId, TaskId, Timestamp};
use crate::log::StoredEvent;
use crate::publish::{ConsumerRule, Incoming, Verdict};

/// Messages that are taken at a time.
const BATCH: usize = 512;
/// How long the topic is still read when nobody follows any more.
const IDLE: Duration = Duration::from_secs(30);
/// How long a follower waits for the topic to be there.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The running readers; dropping it ends them.
pub(super) struct TopicReader(Vec<JoinHandle<()>>);

impl Drop for TopicReader {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl TopicReader {
    /// Returns when every partition is read from its end.
    pub async fn start(hub: &Hub, bus: &Arc<dyn Bus>) -> Result<Self, Problem> {
        let from_the_end = |partition| bus.subscribe(Topic::Events, partition, Start::End);
        let all = try_join_all((0..hub.shards()).map(from_the_end));
        let subscriptions = match tokio::time::timeout(PATIENCE, all).await {
            Ok(Ok(subscriptions)) => subscriptions,
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(unreachable(&"no answer in time")),
        };
        let mut tasks = Vec::new();
        for (subscription, partition) in subscriptions.into_iter().zip(0..) {
            let reader = PartitionReader {
                hub: hub.clone(),
                bus: Arc::clone(bus),
                source: format!("/grid/{}", hub.timeline()),
                shard: ShardId(partition),
                rule: ConsumerRule::default(),
            };
            tasks.push(crate::task::spawn("api.live.partition", reader.run(subscription)));
        }
        tasks.push(crate::task::spawn("api.live.idle", end_when_idle(hub.clone())));
        Ok(Self(tasks))
    }
}

fn unreachable(why: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(%why, "api.live.topic_unreachable");
    Problem::unavailable("events cannot be followed at the moment: the bus does not answer; try again")
}

async fn end_when_idle(hub: Hub) {
    loop {
        tokio::time::sleep(IDLE).await;
        if hub.followers() > 0 {
            continue;
        }
        let mut feed = hub.0.feed.lock().await;
        // Whoever comes now waits for the lock, and begins the feed anew.
        if hub.followers() == 0 {
            *feed = Feed::Off;
            return;
        }
    }
}

struct PartitionReader {
    hub: Hub,
    bus: Arc<dyn Bus>,
    source: String,
    shard: ShardId,
    rule: ConsumerRule,
}

impl PartitionReader {
    async fn run(mut self, mut subscription: Subscription) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut batch = Vec::new();
            match subscription.recv_many(&mut batch, BATCH).await {
                Ok(_) => {
                    pause = FIRST_PAUSE;
                    batch.iter().for_each(|record| self.take(record));
                }
                Err(RecvError::Closed) => return,
                Err(error) => {
                    tracing::warn!(shard = %self.shard, %error, "api.live.partition_lost");
                    subscription = self.again(subscription.position(), &mut pause).await;
                }
            }
        }
    }

    async fn again(&mut self, at: i64, pause: &mut Duration) -> Subscription {
        let mut start = Start::Offset(at);
        loop {
            tokio::time::sleep(*pause).await;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            match self.bus.subscribe(Topic::Events, self.shard.0, start).await {
                Ok(subscription) => return subscription,
                Err(BusError::OutOfRange { .. }) => {
                    // The topic was made anew, or its retention is short: what is missing shows as a gap.
                    self.rule = ConsumerRule::default();
                    start = Start::End;
                }
                Err(error) => tracing::warn!(shard = %self.shard, %error, "api.live.partition_unreachable"),
            }
        }
    }

    fn take(&mut self, record: &Record) {
        let incoming = match Incoming::read(&record.message) {
            Ok(incoming) => incoming,
            Err(error) => {
                metrics::counter!("grid_live_unreadable_total").increment(1);
                tracing::warn!(shard = %self.shard, offset = record.offset, %error, "api.live.unreadable");
                return;
            }
        };
        // Another timeline is another log than the one that this process reads.
        if incoming.source != self.source {
            return;
        }
        match self.rule.see(&incoming) {
            Verdict::Apply | Verdict::StartOver => {}
            Verdict::Skip | Verdict::Wait => return,
        }
        let (shard, seq) = (self.shard, incoming.position);
        match stream(&record.message) {
            Some(stream) => self.hub.read(shard, seq, stream, || {
                stored(&record.message, Position { shard, seq }, stream)
            }),
            None => tracing::warn!(%shard, offset = record.offset, "api.live.unreadable_subject"),
        }
    }
}

fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    std::str::from_utf8(message.header(name)?).ok()
}

fn stream(message: &Message) -> Option<StreamId> {
    #[derive(Deserialize)]
    struct Named {
        incarnation: Incarnation,
    }
    let subject = text(message, "ce_subject")?;
    if subject.starts_with("task-") {
        return subject.parse::<TaskId>().ok().map(StreamId::Task);
    }
    if subject.starts_with("job-") {
        return subject.parse::<JobId>().ok().map(StreamId::Job);
    }
    let named: Named = serde_json::from_slice(&message.payload).ok()?;
    Some(StreamId::Worker(named.incarnation))
}

/// The event in the form of the log.
fn stored(message: &Message, position: Position, stream: StreamId) -> Option<StoredEvent> {
    #[derive(Serialize)]
    struct Whole<'a> {
        r#type: &'a str,
        v: u16,
        at: Timestamp,
        principal: &'a str,
        #[serde(rename = "commandId", skip_serializing_if = "Option::is_none")]
        command: Option<&'a str>,
        #[serde(rename = "causationId", skip_serializing_if = "Option::is_none")]
        causation: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<&'a str>,
        data: &'a RawValue,
    }
    let (name, version) = text(message, "ce_type")?.strip_prefix("grid.")?.rsplit_once(".v")?;
    let at: Timestamp = text(message, "ce_time")?.parse().ok()?;
    let whole = Whole {
        r#type: name,
        v: version.parse().ok()?,
        at,
        principal: text(message, "ce_principal")?,
        command: text(message, "ce_commandid"),
        causation: text(message, "ce_causationid"),
        traceparent: text(message, "ce_traceparent"),
        data: serde_json::from_slice(&message.payload).ok()?,
    };
    Some(StoredEvent {
        position,
        stream,
        version: text(message, "ce_streamversion")?.parse().ok()?,
        day: match stream {
            StreamId::Job(job) => job.day(),
            StreamId::Task(task) => task.job.day(),
            StreamId::Worker(_) => at.day(),
        },
        payload: Bytes::from(serde_json::to_vec(&whole).ok()?),
    })
}
