//! Owners come and go, batches fail halfway, arrive late or twice, days are dropped; every reader still applies each
//! event once and in order.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::bus::Message;
use crate::domain::{Epoch, ShardId};
use crate::publish::{Asked, ConsumerRule, Encoded, Incoming, Machine, Next, Options, Verdict, encode};

const SHARD: ShardId = ShardId(0);

#[derive(Clone, Debug)]
enum Op {
    /// The present owner commits; its publisher hears of it, or not.
    Commit {
        events: u8,
        told: bool,
        unreadable: bool,
    },
    Step {
        owner: u8,
        log_fails: bool,
    },
    /// Some of the messages under way reach the topic.
    Arrive {
        owner: u8,
        messages: u8,
    },
    Acknowledge {
        owner: u8,
    },
    /// The batch fails after some messages were acknowledged; what has not arrived never will.
    Fail {
        owner: u8,
        acknowledged: u8,
    },
    /// Another process claims the shard; the old one does not know. `anew`: the cursor is of another bus.
    TakeOver {
        anew: bool,
    },
    DropDays {
        events: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6_u8, proptest::bool::weighted(0.8), proptest::bool::weighted(0.1))
            .prop_map(|(events, told, unreadable)| Op::Commit { events, told, unreadable }),
        12 => (any::<u8>(), proptest::bool::weighted(0.1)).prop_map(|(owner, log_fails)| Op::Step { owner, log_fails }),
        10 => (any::<u8>(), 1..4_u8).prop_map(|(owner, messages)| Op::Arrive { owner, messages }),
        8 => any::<u8>().prop_map(|owner| Op::Acknowledge { owner }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(owner, acknowledged)| Op::Fail { owner, acknowledged }),
        2 => proptest::bool::weighted(0.1).prop_map(|anew| Op::TakeOver { anew }),
        1 => (1..9_u8).prop_map(|events| Op::DropDays { events }),
    ]
}

struct Owner {
    machine: Machine,
    epoch: Epoch,
    now: Timestamp,
    under_way: Option<(Encoded, usize)>,
}

struct World {
    log: Vec<Item>,
    dropped: u64,
    unreadable: BTreeSet<u64>,
    stored: Seq,
    owners: Vec<Owner>,
    topic: Vec<Message>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            log: Vec::new(),
            dropped: 0,
            unreadable: BTreeSet::new(),
            stored: Seq(0),
            owners: Vec::new(),
            topic: Vec::new(),
        };
        world.take_over(false);
        world
    }

    fn take_over(&mut self, anew: bool) {
        let cost = item(1).payload.len() as u64 + 128;
        let options = Options {
            batch_messages: 4,
            page_events: 3,
            shard_bytes: cost * 6,
            ..Options::default()
        };
        let epoch = Epoch(self.owners.len() as u64 + 1);
        let mut machine = Machine::new(options);
        if anew {
            self.stored = Seq(0);
        }
        machine.own(SHARD, epoch, Seq(self.log.len() as u64 + 1), self.stored);
        self.owners.push(Owner {
            machine,
            epoch,
            now: NOW,
            under_way: None,
        });
    }

    fn commit(&mut self, events: u8, told: bool, unreadable: bool) {
        let owner = self.owners.last_mut().unwrap();
        // The cursor rides in the commit.
        self.stored = owner.machine.published(SHARD).unwrap();
        let first = self.log.len() as u64 + 1;
        let mut committed = items(first..=first + u64::from(events) - 1);
        if unreadable {
            committed[0].payload = Bytes::from_static(b"?");
            self.unreadable.insert(first);
        }
        self.log.extend_from_slice(&committed);
        if told {
            owner.machine.feed(SHARD, owner.epoch, committed);
        }
    }

    fn page(&self, asked: Asked, limit: usize) -> (Vec<Item>, Seq) {
        let after = asked.after.0.max(self.dropped) as usize;
        let page: Vec<Item> = self.log.iter().skip(after).take(limit).cloned().collect();
        let through = page.last().map_or(Seq(after as u64), |item| item.seq);
        (page, through.max(asked.after))
    }

    /// Tells whether there was anything to do.
    fn step(&mut self, index: usize, log_fails: bool) -> bool {
        let now = self.owners[index].now;
        match self.owners[index].machine.next(now) {
            Next::Publish(batch) => {
                let source = Bytes::from_static(b"/grid/test");
                self.owners[index].under_way = Some((encode(&batch, &source, 10_000), 0));
            }
            Next::Read { asked, .. } if log_fails => self.owners[index].machine.unread(asked, now),
            Next::Read { asked, limit } => {
                let (page, through) = self.page(asked, limit);
                self.owners[index].machine.page(asked, page, through, now);
            }
            Next::Resume => self.owners[index].machine.resumed(),
            Next::Wait(until) => self.owners[index].now = until,
            Next::Idle => return false,
        }
        true
    }

    fn arrive(&mut self, index: usize, messages: usize) {
        if let Some((encoded, arrived)) = &mut self.owners[index].under_way {
            let more: VecDeque<_> = encoded.messages.iter().skip(*arrived).take(messages).cloned().collect();
            *arrived += more.len();
            self.topic.extend(more.into_iter().map(|(_, message)| message));
        }
    }

    fn answer(&mut self, index: usize, acknowledged: Option<u8>) {
        let owner = &mut self.owners[index];
        let Some((encoded, arrived)) = owner.under_way.take() else {
            return;
        };
        let all = arrived == encoded.messages.len();
        match acknowledged {
            None if all => owner.machine.delivered(&encoded.last_of(arrived), true, owner.now),
            None => owner.under_way = Some((encoded, arrived)),
            Some(some) => {
                let acked = usize::from(some) % (arrived + 1);
                owner.machine.delivered(&encoded.last_of(acked), false, owner.now);
            }
        }
    }

    fn happen(&mut self, op: &Op) {
        let index = |owner: u8| {
            // Mostly the present owner.
            let back = usize::from(owner).saturating_sub(160) % self.owners.len();
            self.owners.len() - 1 - back
        };
        match *op {
            Op::Commit {
                events,
                told,
                unreadable,
            } => self.commit(events, told, unreadable),
            Op::Step { owner, log_fails } => drop(self.step(index(owner), log_fails)),
            Op::Arrive { owner, messages } => self.arrive(index(owner), messages.into()),
            Op::Acknowledge { owner } => self.answer(index(owner), None),
            Op::Fail { owner, acknowledged } => self.answer(index(owner), Some(acknowledged)),
            Op::TakeOver { anew } => self.take_over(anew),
            Op::DropDays { events } => {
                self.dropped = self.dropped.max((self.dropped + u64::from(events)).min(self.stored.0));
            }
        }
        let head = Seq(self.log.len() as u64);
        assert!(
            self.owners
                .iter()
                .all(|owner| owner.machine.published(SHARD) <= Some(head))
        );
    }

    /// The present owner publishes all there is, undisturbed.
    fn settle(&mut self) {
        let last = self.owners.len() - 1;
        for _ in 0..10_000 {
            self.arrive(last, 100);
            self.answer(last, None);
            if !self.step(last, false) {
                return;
            }
        }
        panic!("the publisher never comes to rest");
    }

    fn readable(&self) -> Vec<u64> {
        (1..=self.log.len() as u64)
            .filter(|seq| !self.unreadable.contains(seq))
            .collect()
    }

    /// What a reader that begins at `offset` applies, and its last base: the event before which it may miss some.
    fn read_from(&self, offset: usize) -> (Vec<u64>, u64) {
        let mut rule = ConsumerRule::default();
        let (mut applied, mut base) = (Vec::new(), 0);
        for message in &self.topic[offset..] {
            let incoming = Incoming::read(message).unwrap();
            let have = rule.have();
            match rule.see(&incoming) {
                Verdict::Apply => {
                    if have.is_none_or(|have| have < incoming.previous) {
                        base = incoming.position.0;
                    }
                    applied.push(incoming.position.0);
                }
                Verdict::Skip | Verdict::Wait => {}
                Verdict::StartOver => panic!("there is one timeline"),
            }
        }
        (applied, base)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_reader_applies_each_event_once_and_in_order(ops in proptest::collection::vec(op(), 1..150)) {
        let mut world = World::new();
        for op in &ops {
            world.happen(op);
        }
        world.settle();
        // The end: whoever is still listening hears of this.
        world.commit(1, true, false);
        world.settle();
        let all = world.readable();
        assert_eq!(world.owners.last().unwrap().machine.published(SHARD), all.last().map(|seq| Seq(*seq)));
        assert_eq!(world.read_from(0), (all.clone(), all[0]));
        for offset in 0..world.topic.len() {
            let (applied, base) = world.read_from(offset);
            assert!(applied.is_sorted_by(|one, other| one < other), "from {offset}: {applied:?}");
            // What is dropped from the log may be missing for those who were not there when it was published.
            let expected = all.iter().filter(|seq| **seq >= base.max(world.dropped + 1));
            let missing: Vec<_> = expected.filter(|seq| !applied.contains(seq)).collect();
            assert!(missing.is_empty(), "from {offset}: {applied:?} without {missing:?}");
            assert!(applied.iter().all(|seq| all.contains(seq)));
        }
    }
}
