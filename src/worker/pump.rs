//! From a partition of the bus to the worker: read, decode, hand over, wait until it is taken.

use actix::prelude::*;
use memchr::memmem::Finder;
use tokio::task::JoinHandle;

use super::actor::{Arrived, Broken, WorkerActor};
use crate::bus::{Record, RecvError, Subscription, Topic};
use crate::domain::WorkerName;
use crate::event::{AssignmentMessage, Beat, Unreadable, Wire};

/// Records that are handed over at once.
const BATCH: usize = 512;

/// A message for the worker, and where it stood.
pub(super) enum News {
    Assignments { offset: i64, message: AssignmentMessage },
    Beat(Beat),
}

/// A running pump; it ends with its handle.
pub(super) struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pump {
    pub(super) fn start(topic: Topic, subscription: Subscription, me: &WorkerName, worker: Addr<WorkerActor>) -> Self {
        let reader = Reader {
            topic,
            others: OtherBeats::new(me),
        };
        Self(crate::task::spawn("worker_pump", reader.run(subscription, worker)))
    }
}

struct Reader {
    topic: Topic,
    others: OtherBeats,
}

impl Reader {
    async fn run(self, mut subscription: Subscription, worker: Addr<WorkerActor>) {
        let mut records = Vec::new();
        loop {
            if let Err(error) = subscription.recv_many(&mut records, BATCH).await {
                self.broken(error, &worker).await;
                return;
            }
            let news: Vec<News> = records.drain(..).filter_map(|record| self.read(&record)).collect();
            if !news.is_empty() && worker.send(Arrived(news)).await.is_err() {
                return;
            }
        }
    }

    /// The worker begins anew, for it may have missed what was for it.
    async fn broken(&self, error: RecvError, worker: &Addr<WorkerActor>) {
        tracing::error!(topic = %self.topic, %error, "worker.subscription_ended");
        let _ = worker.send(Broken(error.to_string())).await;
    }

    fn read(&self, record: &Record) -> Option<News> {
        let payload = &record.message.payload;
        let read = match self.topic {
            Topic::Assignments => AssignmentMessage::decode(payload).map(|message| News::Assignments {
                offset: record.offset,
                message,
            }),
            Topic::Heartbeats if self.others.has(payload) => return None,
            Topic::Heartbeats => Beat::decode(payload).map(News::Beat),
            Topic::Commands | Topic::Reports | Topic::Replies | Topic::Events => return None,
        };
        read.map_err(|error| self.unreadable(record.offset, &error)).ok()
    }

    fn unreadable(&self, offset: i64, error: &Unreadable) {
        metrics::counter!("grid_worker_unreadable_total", "topic" => self.topic.name()).increment(1);
        tracing::error!(topic = %self.topic, offset, %error, "worker.message_unreadable");
    }
}

/// Recognises heartbeats of other workers without reading them: there are many, and they say nothing to this one.
struct OtherBeats {
    name: Finder<'static>,
}

impl OtherBeats {
    /// How [`Beat::Worker`] begins.
    const WORKER: &'static [u8] = br#"{"type":"Worker","#;

    fn new(me: &WorkerName) -> Self {
        Self {
            name: Finder::new(me.as_str()).into_owned(),
        }
    }

    /// Certain when true. A name that holds this one's is read in full.
    fn has(&self, payload: &[u8]) -> bool {
        payload.starts_with(Self::WORKER) && self.name.find(payload).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Incarnation, Labels, Timestamp};
    use crate::event::{JobmasterBeat, Version, WorkerBeat};

    fn beat(name: &str) -> bytes::Bytes {
        let beat = WorkerBeat {
            v: Version,
            worker: name.parse().unwrap(),
            incarnation: Incarnation::default(),
            timeline: None,
            sent_at: Timestamp::ZERO,
            clock: None,
            endpoint_url: "http://somewhere".into(),
            max_capacity: 1,
            running: 0,
            queued: 0,
            labels: Labels::new(),
            draining: false,
            cordoned: false,
            leaving: false,
            cpu_cores: 0.0,
            memory_bytes: 0,
            grants: Vec::new(),
        };
        Beat::Worker(beat).encode()
    }

    #[test]
    fn beats_of_other_workers_are_passed_over_and_no_others() {
        let others = OtherBeats::new(&"alpha".parse().unwrap());
        assert!(others.has(&beat("beta")));
        assert!(!others.has(&beat("alpha")));
        assert!(!others.has(&beat("alpha-2")));
        let jobmaster = JobmasterBeat {
            v: Version,
            jobmaster: Incarnation::default(),
            timeline: None,
            sent_at: Timestamp::ZERO,
            hungry: true,
            leaving: false,
            returned: Vec::new(),
        };
        assert!(!others.has(&Beat::Jobmaster(jobmaster).encode()));
    }
}
