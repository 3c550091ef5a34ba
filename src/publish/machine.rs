//! Which events go out next, of all shards of this process.
//!
//! Must stay true: a shard's cursor only ever moves to a message that is acknowledged; at most one batch is under way,
//! so that everything before it is acknowledged; what does not fit into memory is read from the log again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::domain::{Epoch, Seq, ShardId, StreamId, Timestamp};

crate::options! {
    /// Limits of the publisher.
    pub struct Options {
        /// Most messages in one batch.
        batch_messages: u32 = 2_000,
        /// Most bytes of events in one batch, unless one event alone is larger.
        batch_bytes: u64 = 1024 * 1024,
        /// Bytes of events kept for one shard; what comes after is read from the log when its turn comes.
        shard_bytes: u64 = 2 * 1024 * 1024,
        /// Events to read from the log at once.
        page_events: u32 = 1_000,
        /// How long to wait for room in the bus and for the acknowledgement to be under way.
        patience: std::time::Duration = std::time::Duration::from_secs(30),
        /// Pause after a failure of the bus or the log.
        pause: std::time::Duration = std::time::Duration::from_millis(500),
    }
}

/// What an event costs in memory besides its bytes.
const ITEM_OVERHEAD_BYTES: u64 = 128;

/// One event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub seq: Seq,
    pub stream: StreamId,
    /// Version of the stream.
    pub version: u32,
    /// The bytes of the log.
    pub payload: Bytes,
}

impl Item {
    fn cost(&self) -> u64 {
        self.payload.len() as u64 + ITEM_OVERHEAD_BYTES
    }
}

/// Events of one shard that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub shard: ShardId,
    /// The epoch in which they are published.
    pub epoch: Epoch,
    /// Position of the message before the first.
    pub after: Seq,
    pub items: Vec<Item>,
}

/// What goes out at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub runs: Vec<Run>,
}

/// A question to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub shard: ShardId,
    pub epoch: Epoch,
    /// Events after this one.
    pub after: Seq,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Publish, then call [`Machine::delivered`].
    Publish(Batch),
    /// Read the log, then call [`Machine::page`] or [`Machine::unread`].
    Read { asked: Asked, limit: usize },
    /// Make sure that nothing of before goes out any more, then call [`Machine::resumed`].
    Resume,
    /// Nothing before then, unless something happens.
    Wait(Timestamp),
    /// Nothing until something happens.
    Idle,
}

/// What is known of an owned shard.
struct Shard {
    epoch: Epoch,
    /// The last message that is acknowledged, and with it all before.
    acked: Seq,
    /// Everything up to here has been taken up: handed out, in `buffer`, or passed over.
    filled: Seq,
    /// The last event of the log that was heard of.
    head: Seq,
    buffer: VecDeque<Item>,
    /// Heard of while something before it had to be read first; ends at `head`.
    ahead: VecDeque<Item>,
    bytes: u64,
    reading: bool,
    /// Not to be read before then.
    rest_until: Option<Timestamp>,
}

impl Shard {
    fn has_items(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn must_read(&self) -> bool {
        self.buffer.is_empty() && !self.reading && self.filled < self.head
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.ahead.clear();
        self.bytes = 0;
        self.reading = false;
        self.filled = self.acked;
    }

    fn drop_ahead(&mut self) {
        self.bytes -= self.ahead.iter().map(Item::cost).sum::<u64>();
        self.ahead.clear();
    }

    /// Events just committed. Those that cannot be kept are read from the log later.
    fn feed(&mut self, items: impl IntoIterator<Item = Item>, most_bytes: u64) {
        for item in items {
            if item.seq <= self.head.max(self.filled) {
                continue;
            }
            self.head = item.seq;
            let fits = self.bytes + item.cost() <= most_bytes;
            let follows = Seq(self.filled.0 + 1) == item.seq;
            if fits && follows && !self.reading {
                self.filled = item.seq;
                self.bytes += item.cost();
                self.buffer.push_back(item);
                continue;
            }
            if self.ahead.back().is_some_and(|last| last.seq.0 + 1 != item.seq.0) || !fits {
                self.drop_ahead();
            }
            if self.bytes + item.cost() <= most_bytes {
                self.bytes += item.cost();
                self.ahead.push_back(item);
            }
        }
    }

    /// What was read of the log up to `through`.
    fn page(&mut self, items: Vec<Item>, through: Seq) {
        for item in items {
            if item.seq > self.filled {
                self.filled = item.seq;
                self.bytes += item.cost();
                self.buffer.push_back(item);
            }
        }
        self.filled = self.filled.max(through);
        self.head = self.head.max(self.filled);
        self.join();
    }

    /// Takes what was heard of meanwhile behind what was read.
    fn join(&mut self) {
        while let Some(item) = self.ahead.pop_front() {
            if item.seq.0 > self.filled.0 + 1 {
                self.ahead.push_front(item);
                return;
            }
            if item.seq <= self.filled {
                self.bytes -= item.cost();
            } else {
                self.filled = item.seq;
                self.buffer.push_back(item);
            }
        }
    }
}

/// The publisher of one process.
pub struct Machine {
    options: Options,
    shards: BTreeMap<ShardId, Shard>,
    /// Shards that may have something to do.
    busy: BTreeSet<ShardId>,
    /// Where the next round begins.
    turn: ShardId,
    publishing: bool,
    broken: bool,
    rest_until: Option<Timestamp>,
    read_first: bool,
}

impl Machine {
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            shards: BTreeMap::new(),
            busy: BTreeSet::new(),
            turn: ShardId(0),
            publishing: false,
            broken: false,
            rest_until: None,
            read_first: false,
        }
    }

    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The shard belongs to this process from now on. `next`: place of its next event; `published`: its stored cursor.
    pub fn own(&mut self, shard: ShardId, epoch: Epoch, next: Seq, published: Seq) {
        let state = Shard {
            epoch,
            acked: published,
            filled: published,
            head: Seq(next.0.saturating_sub(1)),
            buffer: VecDeque::new(),
            ahead: VecDeque::new(),
            bytes: 0,
            reading: false,
            rest_until: None,
        };
        self.shards.insert(shard, state);
        self.busy.insert(shard);
    }

    pub fn disown(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
        self.busy.remove(&shard);
    }

    fn owned(&mut self, shard: ShardId, epoch: Epoch) -> Option<&mut Shard> {
        self.shards.get_mut(&shard).filter(|state| state.epoch == epoch)
    }

    /// Events that were just committed, in order.
    pub fn feed(&mut self, shard: ShardId, epoch: Epoch, items: impl IntoIterator<Item = Item>) {
        let most_bytes = self.options.shard_bytes;
        if let Some(state) = self.owned(shard, epoch) {
            state.feed(items, most_bytes);
            self.busy.insert(shard);
        }
    }

    /// The cursor: the last message that is acknowledged. `None` when the shard is not owned.
    pub fn published(&self, shard: ShardId) -> Option<Seq> {
        let cursor = |state: &Shard| {
            if mutant!(PublisherAhead) {
                state.filled
            } else {
                state.acked
            }
        };
        self.shards.get(&shard).map(cursor)
    }

    /// How many events wait, and how many bytes of them are kept.
    pub fn backlog(&self) -> (u64, u64) {
        let of = |state: &Shard| (state.head.0.saturating_sub(state.acked.0), state.bytes);
        self.shards
            .values()
            .map(of)
            .fold((0, 0), |(events, bytes), (more, size)| (events + more, bytes + size))
    }

    /// What is to be done next. Publishing and resuming are done one after the other.
    pub fn next(&mut self, now: Timestamp) -> Next {
        if self.publishing {
            return Next::Idle;
        }
        if let Some(until) = self.rest_until.filter(|until| *until > now) {
            return Next::Wait(until);
        }
        if self.broken {
            return Next::Resume;
        }
        // In turn, so that a shard that has to catch up and those that are up to date do not wait for each other.
        if self.read_first
            && let Some(read) = self.next_read(now)
        {
            self.read_first = false;
            return read;
        }
        let batch = self.next_batch();
        if !batch.runs.is_empty() {
            self.publishing = true;
            self.read_first = true;
            return Next::Publish(batch);
        }
        if let Some(read) = self.next_read(now) {
            return read;
        }
        let rests = self
            .busy
            .iter()
            .filter_map(|shard| self.shards.get(shard)?.rest_until)
            .min();
        rests.map_or(Next::Idle, Next::Wait)
    }

    fn next_read(&mut self, now: Timestamp) -> Option<Next> {
        let due = |state: &Shard| state.must_read() && state.rest_until.is_none_or(|until| until <= now);
        let shard = *self.busy.iter().find(|shard| self.shards.get(shard).is_some_and(due))?;
        let state = self.shards.get_mut(&shard)?;
        state.reading = true;
        let asked = Asked {
            shard,
            epoch: state.epoch,
            after: state.filled,
        };
        Some(Next::Read {
            asked,
            limit: self.options.page_events as usize,
        })
    }

    fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        let (mut messages, mut bytes) = (0_usize, 0_u64);
        let most = self.options.batch_messages as usize;
        let order: Vec<ShardId> = self
            .busy
            .range(self.turn..)
            .chain(self.busy.range(..self.turn))
            .copied()
            .collect();
        for shard in order {
            let Some(state) = self.shards.get_mut(&shard) else {
                continue;
            };
            if messages >= most || bytes >= self.options.batch_bytes {
                self.turn = shard;
                break;
            }
            let mut run = Run {
                shard,
                epoch: state.epoch,
                after: state.acked,
                items: Vec::new(),
            };
            while let Some(item) = state.buffer.front() {
                let (size, cost) = (item.payload.len() as u64, item.cost());
                if messages >= most || (messages > 0 && bytes + size > self.options.batch_bytes) {
                    break;
                }
                (messages, bytes, state.bytes) = (messages + 1, bytes + size, state.bytes - cost);
                run.items.extend(state.buffer.pop_front());
            }
            if !run.items.is_empty() {
                batch.runs.push(run);
            }
            if !state.has_items() && state.filled >= state.head {
                self.busy.remove(&shard);
            }
        }
        batch
    }

    /// What became of the batch: the last message of each shard that is acknowledged, and whether that was all.
    pub fn delivered(&mut self, acked: &[(ShardId, Epoch, Seq)], whole: bool, now: Timestamp) {
        self.publishing = false;
        for (shard, epoch, seq) in acked {
            if let Some(state) = self.owned(*shard, *epoch) {
                state.acked = state.acked.max(*seq);
            }
        }
        if !whole && !mutant!(PublisherGap) {
            self.broken = true;
            self.rest_until = Some(now + self.options.pause);
            for (shard, state) in &mut self.shards {
                state.forget();
                self.busy.insert(*shard);
            }
        }
    }

    /// Nothing of before goes out any more.
    pub const fn resumed(&mut self) {
        self.broken = false;
        self.rest_until = None;
    }

    /// Events of the log after `after`, which was asked for; everything up to `through` is among them.
    pub fn page(&mut self, asked: Asked, items: Vec<Item>, through: Seq, now: Timestamp) {
        let pause = self.options.pause;
        if let Some(state) = self.owned(asked.shard, asked.epoch)
            && state.reading
            && state.filled == asked.after
        {
            state.reading = false;
            state.page(items, through);
            // A log that gives less than was heard of is asked again, but not at once.
            state.rest_until = (state.filled == asked.after && state.filled < state.head).then(|| now + pause);
            self.busy.insert(asked.shard);
        }
    }

    /// The log could not be read.
    pub fn unread(&mut self, asked: Asked, now: Timestamp) {
        let pause = self.options.pause;
        if let Some(state) = self.owned(asked.shard, asked.epoch) {
            state.reading = false;
            state.rest_until = Some(now + pause);
        }
    }
}
