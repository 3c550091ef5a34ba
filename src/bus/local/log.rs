//! One partition in memory, and its readers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use metrics::{Gauge, gauge};

use crate::bus::meter::{Meter, Meters};
use crate::bus::subscription::BATCH_BYTES;
use crate::bus::{BusError, Message, Record, RecvError, SendError, Start, Topic};
use crate::domain::Timestamp;

pub(super) struct PartitionLog {
    topic: Topic,
    partition: u16,
    most_bytes: u64,
    meters: Meters,
    lag: Gauge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Offset of the first entry, and of the next one when there is none.
    low: i64,
    entries: VecDeque<Record>,
    bytes: u64,
    readers: Vec<Reader>,
    next_reader: u64,
    closed: bool,
}

struct Reader {
    id: u64,
    position: i64,
    waker: Option<Waker>,
}

impl State {
    fn high(&self) -> i64 {
        self.low + self.entries.len() as i64
    }

    fn reader(&mut self, id: u64) -> Option<&mut Reader> {
        self.readers.iter_mut().find(|reader| reader.id == id)
    }

    /// Drops the entries below `below`; tells how many, and their bytes.
    fn drop_below(&mut self, below: i64) -> (u64, u64) {
        let count = usize::try_from(below - self.low).unwrap_or(0).min(self.entries.len());
        let bytes = self
            .entries
            .drain(..count)
            .map(|record| record.message.cost_bytes() as u64)
            .sum();
        self.low += count as i64;
        self.bytes -= bytes;
        (count as u64, bytes)
    }

    /// For those who listen at the moment: drops what all of them have read.
    fn drop_read(&mut self) -> (u64, u64) {
        let below = self
            .readers
            .iter()
            .map(|reader| reader.position)
            .min()
            .unwrap_or(i64::MAX);
        self.drop_below(below)
    }
}

impl PartitionLog {
    pub(super) fn new(topic: Topic, partition: u16, most_bytes: u64, meters: &Meters) -> Self {
        let labels = [("topic", topic.name().to_owned()), ("partition", partition.to_string())];
        Self {
            topic,
            partition,
            most_bytes,
            meters: Arc::clone(meters),
            lag: gauge!("grid_bus_lag_messages", &labels),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meter(&self) -> &Meter {
        &self.meters[self.topic.index()]
    }

    fn give(&self, (messages, bytes): (u64, u64)) {
        if messages > 0 {
            self.meter().give(messages, bytes);
        }
    }

    pub(super) fn append(&self, message: Message, timestamp: Timestamp) -> Result<i64, SendError> {
        let cost = message.cost_bytes() as u64;
        let mut state = self.lock();
        let offset = state.high();
        if state.readers.is_empty() && !self.topic.is_kept() {
            state.low += 1;
            return Ok(offset);
        }
        if !state.entries.is_empty() && state.bytes + cost > self.most_bytes {
            return Err(SendError::Full { topic: self.topic });
        }
        self.meter().take(1, cost)?;
        state.bytes += cost;
        state.entries.push_back(Record {
            offset,
            timestamp,
            message,
        });
        // Woken under the lock: waking only puts the task into its runtime's queue.
        state
            .readers
            .iter_mut()
            .filter_map(|reader| reader.waker.take())
            .for_each(Waker::wake);
        Ok(offset)
    }

    pub(super) fn range(&self) -> (i64, i64) {
        let state = self.lock();
        (state.low, state.high())
    }

    pub(super) fn trim(&self, below: i64) {
        if !self.topic.is_kept() {
            return;
        }
        let mut state = self.lock();
        // What a subscription has yet to read stays: it is there to be read.
        let unread = state
            .readers
            .iter()
            .map(|reader| reader.position)
            .min()
            .unwrap_or(i64::MAX);
        let dropped = state.drop_below(below.min(unread));
        drop(state);
        self.give(dropped);
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state
            .readers
            .iter_mut()
            .filter_map(|reader| reader.waker.take())
            .for_each(Waker::wake);
    }
}

/// A reader of a [`PartitionLog`].
pub struct LocalSubscription {
    log: Arc<PartitionLog>,
    id: u64,
    position: i64,
}

impl LocalSubscription {
    pub(super) fn new(log: &Arc<PartitionLog>, from: Start) -> Result<Self, BusError> {
        let mut state = log.lock();
        let (low, high) = (state.low, state.high());
        let position = match from {
            Start::Beginning => low,
            Start::End => high,
            Start::Offset(offset) if (low..=high).contains(&offset) => offset,
            Start::Offset(offset) => {
                let (topic, partition) = (log.topic, log.partition);
                return Err(BusError::OutOfRange {
                    topic,
                    partition,
                    offset,
                    low,
                    high,
                });
            }
        };
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.push(Reader {
            id,
            position,
            waker: None,
        });
        drop(state);
        Ok(Self {
            log: Arc::clone(log),
            id,
            position,
        })
    }

    pub(in crate::bus) fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<Record>,
        max: usize,
    ) -> Poll<Result<usize, RecvError>> {
        if max == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut state = self.log.lock();
        let high = state.high();
        if self.position >= high {
            if state.closed {
                return Poll::Ready(Err(RecvError::Closed));
            }
            if let Some(reader) = state.reader(self.id)
                && !reader.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                reader.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let from = usize::try_from(self.position - state.low).unwrap_or(0);
        let mut bytes = 0;
        let mut count = 0;
        for record in state.entries.range(from..).take(max) {
            bytes += record.message.cost_bytes();
            buffer.push(record.clone());
            count += 1;
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.position += count as i64;
        let position = self.position;
        if let Some(reader) = state.reader(self.id) {
            reader.position = position;
        }
        let dropped = if self.log.topic.is_kept() {
            (0, 0)
        } else {
            state.drop_read()
        };
        drop(state);
        self.log.give(dropped);
        self.log.meter().count_received(count as u64);
        self.log.lag.set((high - position) as f64);
        Poll::Ready(Ok(count))
    }

    pub(in crate::bus) fn position(&self) -> i64 {
        self.position
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.readers.retain(|reader| reader.id != self.id);
        let dropped = if self.log.topic.is_kept() {
            (0, 0)
        } else {
            state.drop_read()
        };
        drop(state);
        self.log.give(dropped);
    }
}
