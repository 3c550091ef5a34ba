//! What has come for one follower and was not yet taken.
//!
//! Must stay true: bounded by count and bytes; when it is full everything in it is forgotten, and it says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{Position, Seq, ShardId};
use crate::log::StoredEvent;

/// Events that may wait for a follower.
const MOST_EVENTS: usize = 4_096;
/// Bytes of them. They are shared with the other followers of the same events.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// What an event takes besides its bytes.
const EVENT_BYTES: usize = 128;

/// What comes.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Event(StoredEvent),
    /// The feed has lost something: everything of the shard up to here has to be read from the log.
    Gap(Position),
}

/// How much is kept of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Events,
    /// Only the place of the last event of each shard.
    Last,
}

#[derive(Debug)]
pub(super) struct Inbox {
    keep: Keep,
    state: Mutex<State>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    lost: bool,
    last: BTreeMap<ShardId, Seq>,
}

/// What was in an inbox.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// More had come than was kept: look into the log.
    pub lost: bool,
    pub items: VecDeque<Item>,
}

impl Inbox {
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            state: Mutex::default(),
            arrival: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, event: &StoredEvent) {
        let mut state = self.lock();
        if self.keep == Keep::Last {
            state.note(event.position);
        } else if !state.lost {
            state.bytes += event.payload.len() + EVENT_BYTES;
            if state.items.len() >= MOST_EVENTS || state.bytes > MOST_BYTES {
                state.forget();
                metrics::counter!("grid_live_followers_behind_total").increment(1);
            } else {
                state.items.push_back(Item::Event(event.clone()));
            }
        }
        drop(state);
        self.arrival.notify_one();
    }

    pub fn gap(&self, shard: ShardId, through: Seq) {
        let place = Position { shard, seq: through };
        let mut state = self.lock();
        if self.keep == Keep::Last {
            state.note(place);
        } else if state.items.len() >= MOST_EVENTS {
            state.forget();
        } else if !state.lost {
            state.items.push_back(Item::Gap(place));
        }
        drop(state);
        self.arrival.notify_one();
    }

    /// Takes everything.
    pub fn take(&self) -> Taken {
        let mut state = self.lock();
        state.bytes = 0;
        Taken {
            lost: std::mem::take(&mut state.lost),
            items: std::mem::take(&mut state.items),
        }
    }

    /// Takes everything, unless something was lost.
    pub fn take_unless_lost(&self) -> VecDeque<Item> {
        let mut state = self.lock();
        if state.lost {
            return VecDeque::new();
        }
        state.bytes = 0;
        std::mem::take(&mut state.items)
    }

    /// The places of the last events since the last call.
    pub fn take_last(&self) -> Vec<Position> {
        let last = std::mem::take(&mut self.lock().last);
        last.into_iter().map(|(shard, seq)| Position { shard, seq }).collect()
    }

    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.items.is_empty() && !state.lost
    }

    /// Returns when something has come since the last call. Cancelling loses nothing.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }
}

impl State {
    fn note(&mut self, Position { shard, seq }: Position) {
        let last = self.last.entry(shard).or_default();
        *last = seq.max(*last);
    }

    fn forget(&mut self) {
        self.items = VecDeque::new();
        self.bytes = 0;
        self.lost = true;
    }
}
