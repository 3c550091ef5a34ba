//! Who owns which partition of the commands.
//!
//! Must stay true: a partition that is being revoked is not given to anybody before its owner released it, the deadline
//! passed, or the membership was lost; what was never told as assigned is never told as revoked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::ProveError;
use super::kafka::KafkaGroup;
use super::local::LocalGroup;

/// What a member is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The partition is this member's. `generation` rises with every assignment of this process.
    Assigned { partition: u16, generation: u64 },
    /// It shall go to another member: close what works on it, then [`Member::release`], within
    /// `kafka.revoke_timeout`.
    Revoked { partition: u16 },
    /// It may be another member's already: close what works on it. Nothing to release.
    Lost { partition: u16 },
}

/// A member, as the stream of what it is told. Dropping it leaves the group.
pub struct Membership {
    member: Member,
}

/// The acts of a member. Cheap to clone.
#[derive(Clone)]
pub struct Member {
    claims: Arc<Claims>,
    group: Group,
}

#[derive(Clone)]
pub(super) enum Group {
    Local(Arc<LocalGroup>),
    Kafka(Arc<KafkaGroup>),
}

impl Membership {
    pub(super) fn new(claims: Arc<Claims>, group: Group) -> Self {
        Self {
            member: Member { claims, group },
        }
    }

    /// The next news; nothing after leaving. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Ownership> {
        let claims = &self.member.claims;
        loop {
            let changed = claims.changed.notified();
            {
                let mut state = claims.lock();
                if let Some(event) = state.events.pop_front() {
                    return Some(event);
                }
                if state.over {
                    return None;
                }
            }
            changed.await;
        }
    }

    pub fn member(&self) -> Member {
        self.member.clone()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.member.claims.finish();
        self.member.group.stop();
    }
}

impl Group {
    fn stop(&self) {
        match self {
            Self::Local(group) => group.stop(),
            Self::Kafka(group) => group.stop(),
        }
    }
}

impl Member {
    /// Proves that the partition is this member's, and was since the assignment of that generation: the broker took
    /// this member's word, which it does not take from an old one. What is claimed after it may still be late; the
    /// epoch of the shard decides then.
    ///
    /// # Errors
    /// [`ProveError::NotOwner`]: close the shard. [`ProveError::Unavailable`]: ask again.
    pub async fn prove(&self, partition: u16, generation: u64) -> Result<(), ProveError> {
        let holds = || {
            let holds = self.claims.holds(partition, generation);
            if holds {
                Ok(())
            } else {
                Err(ProveError::NotOwner { partition })
            }
        };
        holds()?;
        match &self.group {
            Group::Local(_) => {}
            Group::Kafka(group) => group.prove(partition).await?,
        }
        // The broker's word was for the member as it was when it asked; it may have given the partition away since.
        holds()
    }

    /// Answers a revoke: nothing works on the partition any more.
    pub fn release(&self, partition: u16) {
        self.claims.release(partition);
    }

    /// Leaves: all partitions go to the other members at once. Close what works on them first.
    pub async fn leave(&self) {
        self.claims.finish();
        match &self.group {
            Group::Local(group) => group.stop(),
            Group::Kafka(group) => group.leave().await,
        }
    }
}

/// What this process holds, shared between the group's thread and the member.
#[derive(Default)]
pub(super) struct Claims {
    state: Mutex<State>,
    released: Condvar,
    changed: Notify,
}

#[derive(Default)]
struct State {
    held: BTreeMap<u16, Held>,
    /// At most two a partition: see `forget_untold`.
    events: VecDeque<Ownership>,
    last_generation: u64,
    over: bool,
}

struct Held {
    generation: u64,
    revoking: bool,
}

impl State {
    /// Drops an assignment that nobody has read yet. True when there was one: nobody works on the partition.
    fn forget_untold(&mut self, partition: u16) -> bool {
        let before = self.events.len();
        self.events
            .retain(|event| !matches!(event, Ownership::Assigned { partition: p, .. } if *p == partition));
        self.events.len() < before
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn assign(&self, partitions: &[u16]) {
        let mut state = self.lock();
        for &partition in partitions {
            state.last_generation += 1;
            let generation = state.last_generation;
            state.held.insert(
                partition,
                Held {
                    generation,
                    revoking: false,
                },
            );
            state.events.push_back(Ownership::Assigned { partition, generation });
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Tells the owner and waits until all are released; after `patience` they go all the same. Blocks.
    pub(super) fn revoke(&self, partitions: &[u16], patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        for &partition in partitions {
            if state.forget_untold(partition) {
                state.held.remove(&partition);
            } else if let Some(held) = state.held.get_mut(&partition) {
                held.revoking = true;
                state.events.push_back(Ownership::Revoked { partition });
            }
        }
        self.changed.notify_one();
        loop {
            let waiting = partitions
                .iter()
                .filter(|partition| state.held.contains_key(partition))
                .count();
            if waiting == 0 || state.over {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(partitions = waiting, waited = ?patience, "bus.revoke.overdue");
                metrics::counter!("grid_bus_revoke_overdue_total").increment(waiting as u64);
                break;
            }
            state = self
                .released
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.held.retain(|partition, _| !partitions.contains(partition));
    }

    /// They are gone: tells whoever works on them.
    pub(super) fn lose(&self, partitions: &[u16]) {
        let mut state = self.lock();
        for &partition in partitions {
            let untold = state.forget_untold(partition);
            if state.held.remove(&partition).is_some() && !untold {
                state.events.push_back(Ownership::Lost { partition });
            }
        }
        drop(state);
        self.released.notify_all();
        self.changed.notify_one();
    }

    pub(super) fn lose_all(&self) {
        let held: Vec<u16> = self.lock().held.keys().copied().collect();
        self.lose(&held);
    }

    fn release(&self, partition: u16) {
        let mut state = self.lock();
        if state.held.get(&partition).is_some_and(|held| held.revoking) {
            state.held.remove(&partition);
        }
        drop(state);
        self.released.notify_all();
    }

    /// Whether the partition is held since that assignment, and nobody wants it back.
    fn holds(&self, partition: u16, generation: u64) -> bool {
        let state = self.lock();
        !state.over
            && state
                .held
                .get(&partition)
                .is_some_and(|held| held.generation == generation && !held.revoking)
    }

    /// Nothing is held, told or waited for any more.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.over = true;
        state.held.clear();
        drop(state);
        self.released.notify_all();
        self.changed.notify_one();
    }
}
