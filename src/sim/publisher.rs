//! Publishers in the simulated world: the real machine of each jobmaster, a topic of events a shard, and a reader of it
//! who follows the consumers' rule from the beginning.

use std::sync::LazyLock;

use bytes::Bytes;

use super::world::{Happening, World};
use crate::bus::Message;
use crate::domain::event::FanOutAdvanced;
use crate::domain::{Epoch, Event, Incarnation, JobId, Seq, ShardId, StreamId, Timestamp};
use crate::event::{EventRecord, Meta};
use crate::publish::{Asked, ConsumerRule, Incoming, Item, Machine, Next, Options, Run, Verdict, encode};

/// The topic of one shard, as its reader has it.
#[derive(Default)]
pub struct Topic {
    rule: ConsumerRule,
}

/// What became of a batch, as its publisher gets to know.
#[derive(Debug)]
pub struct Delivered {
    acked: Vec<(ShardId, Epoch, Seq)>,
    whole: bool,
}

pub struct Publisher {
    pub machine: Machine,
    /// Something is being done with it: it does one thing at a time.
    busy: bool,
    wakes_at: Option<Timestamp>,
}

impl Publisher {
    pub fn new() -> Self {
        let options = Options {
            batch_messages: 20,
            page_events: 12,
            shard_bytes: 40 * 300,
            ..Options::default()
        };
        Self {
            machine: Machine::new(options),
            busy: false,
            wakes_at: None,
        }
    }
}

/// What is published of every event: where it stands is what matters, not what it says.
static PAYLOAD: LazyLock<Bytes> = LazyLock::new(|| {
    let record = EventRecord {
        stream: StreamId::Job(JobId(uuid::Uuid::nil())),
        version: 1,
        meta: Meta {
            at: Timestamp::ZERO,
            principal: "system".into(),
            command: None,
            causation: None,
            traceparent: None,
        },
        event: Event::FanOutAdvanced(FanOutAdvanced {
            request: 1,
            next_task: 1,
        }),
    };
    Bytes::from(record.encode())
});

/// Events that follow each other in the log, the first at `first`.
pub fn items(first: Seq, events: &[EventRecord]) -> Vec<Item> {
    let item = |(seq, record): (u64, &EventRecord)| Item {
        seq: Seq(seq),
        stream: record.stream,
        version: record.version,
        payload: PAYLOAD.clone(),
    };
    (first.0..).zip(events).map(item).collect()
}

impl World {
    /// Lets the publisher of a jobmaster do what is next.
    pub fn publish(&mut self, number: usize) {
        let now = self.jobmaster_now(number);
        let Some(process) = &mut self.jobmasters[number].process else {
            return;
        };
        let (publisher, incarnation) = (&mut process.publisher, process.incarnation);
        if publisher.busy {
            return;
        }
        match publisher.machine.next(now) {
            Next::Publish(batch) => {
                publisher.busy = true;
                self.hand_to_bus(number, incarnation, &batch);
            }
            Next::Read { asked, limit } => {
                publisher.busy = true;
                let delay = self.between(1, 20);
                self.at(
                    delay,
                    Happening::PublisherReads {
                        jobmaster: number,
                        incarnation,
                        asked,
                        limit,
                    },
                );
            }
            Next::Resume => {
                publisher.machine.resumed();
                self.publish(number);
            }
            Next::Wait(until) => {
                if publisher.wakes_at.is_none_or(|at| until < at || at <= now) {
                    publisher.wakes_at = Some(until);
                    self.at_time(
                        until,
                        now,
                        Happening::PublisherWakes {
                            jobmaster: number,
                            incarnation,
                        },
                    );
                }
            }
            Next::Idle => {}
        }
    }

    /// A batch on its way: all of it arrives, or the beginning; the publisher hears of no more than has arrived.
    fn hand_to_bus(&mut self, number: usize, incarnation: Incarnation, batch: &crate::publish::Batch) {
        for run in &batch.runs {
            self.check_run(run);
        }
        let source = Bytes::from_static(b"/grid/sim");
        let encoded = encode(batch, &source, 1 << 20);
        let all = encoded.messages.len();
        let fails = self.is_stormy() && self.chance(6);
        let arrives = if fails {
            self.between(0, all as i64 + 1) as usize
        } else {
            all
        };
        let acked = if fails {
            self.between(0, arrives as i64 + 1) as usize
        } else {
            all
        };
        let delivered = Delivered {
            acked: encoded.last_of(acked),
            whole: !fails,
        };
        let mut messages = encoded.messages;
        messages.truncate(arrives);
        // In two parts, between which another owner's may come.
        let cut = self.between(0, arrives as i64 + 1) as usize;
        let second = messages.split_off(cut);
        let outage = (self.outage_until_ms - self.time_ms).max(0);
        let first_at = outage + self.between(0, 8);
        let second_at = first_at + if self.chance(10) { self.between(0, 3_000) } else { 1 };
        let told_at = second_at + self.between(0, 8);
        self.at(first_at, Happening::Published(messages));
        self.at(second_at, Happening::Published(second));
        self.at(
            told_at,
            Happening::PublishEnds {
                jobmaster: number,
                incarnation,
                delivered,
            },
        );
    }

    /// What goes out is what stands in the log.
    fn check_run(&mut self, run: &Run) {
        let log = &self.log[&run.shard];
        for item in &run.items {
            let record = log.events.get(item.seq.0 as usize - 1);
            if record.is_none_or(|record| (record.stream, record.version) != (item.stream, item.version)) {
                let what = format!("{:?} of shard {} is published and not in the log", item.seq, run.shard);
                self.check.wrong.push(what);
            }
        }
    }

    /// Messages come into the topic, and their reader reads them.
    pub fn published(&mut self, messages: &[(u16, Message)]) {
        for (partition, message) in messages {
            let shard = ShardId(*partition);
            let incoming = match Incoming::read(message) {
                Ok(incoming) => incoming,
                Err(error) => return self.check.wrong.push(error.to_string()),
            };
            if incoming.position >= self.log[&shard].next_seq() || incoming.epoch > self.log[&shard].epoch {
                let what = format!("shard {shard}: {incoming:?} was published before its commit");
                self.check.wrong.push(what);
            }
            let rule = &mut self.topics.entry(shard).or_default().rule;
            let have = rule.have().unwrap_or(Seq(0));
            match rule.see(&incoming) {
                Verdict::Apply if incoming.position.0 == have.0 + 1 => {}
                Verdict::Skip | Verdict::Wait => {}
                Verdict::Apply | Verdict::StartOver => {
                    let what = format!("a reader of shard {shard} has {have:?} and applies {incoming:?}");
                    self.check.wrong.push(what);
                }
            }
        }
    }

    pub fn publish_ends(&mut self, number: usize, incarnation: Incarnation, delivered: &Delivered) {
        let now = self.jobmaster_now(number);
        let Some(publisher) = self.publisher(number, incarnation) else {
            return;
        };
        publisher.busy = false;
        publisher.machine.delivered(&delivered.acked, delivered.whole, now);
        self.publish(number);
    }

    pub fn publisher_reads(&mut self, number: usize, incarnation: Incarnation, asked: Asked, limit: usize) {
        let now = self.jobmaster_now(number);
        let fails = self.is_stormy() && self.chance(5);
        let events = &self.log[&asked.shard].events;
        let from = (asked.after.0 as usize).min(events.len());
        let page = items(
            Seq(asked.after.0 + 1),
            &events[from..events.len().min(from.saturating_add(limit))],
        );
        let Some(publisher) = self.publisher(number, incarnation) else {
            return;
        };
        publisher.busy = false;
        if fails {
            publisher.machine.unread(asked, now);
        } else {
            let through = page.last().map_or(asked.after, |item| item.seq);
            publisher.machine.page(asked, page, through, now);
        }
        self.publish(number);
    }

    pub fn publisher_wakes(&mut self, number: usize, incarnation: Incarnation) {
        let Some(publisher) = self.publisher(number, incarnation) else {
            return;
        };
        publisher.wakes_at = None;
        self.publish(number);
    }

    fn publisher(&mut self, number: usize, incarnation: Incarnation) -> Option<&mut Publisher> {
        let process = self.jobmasters[number].process.as_mut()?;
        (process.incarnation == incarnation).then_some(&mut process.publisher)
    }

    /// Whether every reader has all there is.
    pub fn is_published(&self) -> bool {
        let have = |shard| self.topics.get(shard).and_then(|topic| topic.rule.have());
        self.log
            .iter()
            .all(|(shard, log)| have(shard).unwrap_or(Seq(0)).0 + 1 == log.next_seq().0)
    }
}
