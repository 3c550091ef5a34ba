//! What of the waiting batches goes into the next statement: a synchronous machine.
//!
//! Must stay true: one statement is on its way at a time, and a shard is in it at most once; a batch goes only when the
//! hash before it is known, and any outcome but a commit forgets that hash, so that the shard must be claimed anew.

use std::collections::{HashMap, HashSet, VecDeque};

use super::batch::{CommitOutcome, Encoded};
use super::chain::Hash;
use crate::domain::{Epoch, ShardId};

/// How much one statement may hold. A single larger batch goes alone.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub events: usize,
    pub bytes: usize,
}

/// A batch with its place in the chain, as it goes into a statement; `T` is whom to tell.
#[derive(Debug)]
pub struct Chained<T> {
    pub encoded: Encoded,
    pub previous: Hash,
    pub hash: Hash,
    pub ticket: T,
}

/// The end of a shard's chain, known since its claim.
#[derive(Clone, Copy, Debug)]
struct End {
    epoch: Epoch,
    hash: Hash,
}

/// Collects batches while a statement is on its way.
#[derive(Debug)]
pub struct Gather<T> {
    limits: Limits,
    ends: HashMap<ShardId, End>,
    waiting: VecDeque<(Encoded, T)>,
    waiting_bytes: usize,
    busy: bool,
}

/// What [`Gather::take`] found.
#[derive(Debug)]
pub struct Taken<T> {
    /// The next statement; empty: none.
    pub statement: Vec<Chained<T>>,
    /// Batches of shards that are not this process' any more.
    pub fenced: Vec<T>,
}

impl<T> Gather<T> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ends: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            busy: false,
        }
    }

    /// The shard was claimed: its chain ends in `hash`.
    pub fn claimed(&mut self, shard: ShardId, epoch: Epoch, hash: Hash) {
        // Two claims of one shard may arrive in either order; the later one has the higher epoch.
        if self.ends.get(&shard).is_none_or(|end| end.epoch < epoch) {
            self.ends.insert(shard, End { epoch, hash });
        }
    }

    pub fn push(&mut self, encoded: Encoded, ticket: T) {
        self.waiting_bytes += encoded.bytes;
        self.waiting.push_back((encoded, ticket));
    }

    /// The next statement, unless one is on its way.
    pub fn take(&mut self) -> Taken<T> {
        let mut taken = Taken {
            statement: Vec::new(),
            fenced: Vec::new(),
        };
        if self.busy {
            return taken;
        }
        let (mut events, mut bytes) = (0, 0);
        let mut shards = HashSet::new();
        let mut left = VecDeque::new();
        while let Some((encoded, ticket)) = self.waiting.pop_front() {
            let shard = encoded.batch.shard;
            let end = self.ends.get(&shard).filter(|end| end.epoch == encoded.batch.epoch);
            let Some(end) = end else {
                self.waiting_bytes -= encoded.bytes;
                taken.fenced.push(ticket);
                continue;
            };
            events += encoded.payloads.len();
            bytes += encoded.bytes;
            let full = events > self.limits.events || bytes > self.limits.bytes;
            if full && !taken.statement.is_empty() {
                left.push_back((encoded, ticket));
                break;
            }
            if !shards.insert(shard) {
                left.push_back((encoded, ticket));
                continue;
            }
            self.waiting_bytes -= encoded.bytes;
            let (previous, hash) = (end.hash, encoded.hash(end.hash));
            taken.statement.push(Chained {
                encoded,
                previous,
                hash,
                ticket,
            });
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        self.busy = !taken.statement.is_empty();
        taken
    }

    /// The statement has come back: what to tell whom.
    pub fn done(&mut self, results: Vec<(Chained<T>, CommitOutcome)>) -> Vec<(T, CommitOutcome)> {
        self.busy = false;
        let settle = |(chained, outcome): (Chained<T>, CommitOutcome)| {
            let batch = &chained.encoded.batch;
            // A claim may have come in between: its end of the chain stays.
            if let Some(end) = self.ends.get_mut(&batch.shard)
                && end.epoch == batch.epoch
            {
                if matches!(outcome, CommitOutcome::Committed(_)) {
                    end.hash = chained.hash;
                } else {
                    self.ends.remove(&batch.shard);
                }
            }
            (chained.ticket, outcome)
        };
        results.into_iter().map(settle).collect()
    }

    /// The statement is lost with all that it held.
    pub fn lost(&mut self, shards: &[(ShardId, Epoch)]) {
        self.busy = false;
        for (shard, epoch) in shards {
            if self.ends.get(shard).is_some_and(|end| end.epoch == *epoch) {
                self.ends.remove(shard);
            }
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub fn is_busy(&self) -> bool {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Seq;
    use crate::log::{Committed, Cursor, ShardBatch};

    fn batch(shard: u16, epoch: u64) -> Encoded {
        Encoded::new(ShardBatch {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            first_seq: Seq(1),
            events: std::sync::Arc::new([]),
            cursor: Cursor {
                bus: "".into(),
                commands: 0,
                reports: 0,
            },
            published: Seq(0),
            closed_before: 0,
        })
    }

    fn gather() -> Gather<&'static str> {
        let mut gather = Gather::new(Limits {
            events: 10,
            bytes: 1000,
        });
        gather.claimed(ShardId(1), Epoch(1), Hash([1; 32]));
        gather.claimed(ShardId(2), Epoch(1), Hash([2; 32]));
        gather
    }

    fn tickets(taken: &Taken<&'static str>) -> Vec<&'static str> {
        taken.statement.iter().map(|it| it.ticket).collect()
    }

    fn committed() -> CommitOutcome {
        CommitOutcome::Committed(Committed {
            first_seq: Seq(1),
            last_seq: Seq(0),
            payloads: [].into(),
        })
    }

    #[test]
    fn the_next_statement_gathers_while_one_is_on_its_way() {
        let mut gather = gather();
        gather.push(batch(1, 1), "a");
        let first = gather.take();
        assert_eq!(tickets(&first), ["a"]);
        gather.push(batch(2, 1), "b");
        gather.push(batch(1, 1), "c");
        gather.push(batch(1, 1), "d");
        assert!(gather.take().statement.is_empty());
        gather.done(first.statement.into_iter().map(|it| (it, committed())).collect());
        // A shard is in a statement at most once.
        assert_eq!(tickets(&gather.take()), ["b", "c"]);
        assert_eq!(gather.waiting(), 1);
    }

    #[test]
    fn a_shard_that_was_not_claimed_or_failed_is_fenced() {
        let mut gather = gather();
        gather.push(batch(3, 1), "unknown");
        gather.push(batch(1, 2), "other epoch");
        gather.push(batch(1, 1), "a");
        let taken = gather.take();
        assert_eq!(taken.fenced, ["unknown", "other epoch"]);
        gather.done(
            taken
                .statement
                .into_iter()
                .map(|it| (it, CommitOutcome::Unknown("lost".into())))
                .collect(),
        );
        gather.push(batch(1, 1), "after");
        assert_eq!(gather.take().fenced, ["after"]);
        gather.claimed(ShardId(1), Epoch(2), Hash([3; 32]));
        gather.push(batch(1, 2), "anew");
        assert_eq!(tickets(&gather.take()), ["anew"]);
    }

    #[test]
    fn a_claim_during_a_statement_outlives_its_outcome() {
        let mut gather = gather();
        gather.push(batch(1, 1), "old");
        let taken = gather.take();
        gather.claimed(ShardId(1), Epoch(2), Hash([9; 32]));
        gather.done(
            taken
                .statement
                .into_iter()
                .map(|it| (it, CommitOutcome::Fenced))
                .collect(),
        );
        gather.push(batch(1, 2), "new");
        let taken = gather.take();
        assert_eq!(taken.statement[0].previous, Hash([9; 32]));
        // An older claim that is told late changes nothing.
        gather.claimed(ShardId(1), Epoch(1), Hash([0; 32]));
        gather.done(taken.statement.into_iter().map(|it| (it, committed())).collect());
        gather.push(batch(1, 2), "again");
        assert_eq!(tickets(&gather.take()), ["again"]);
    }
}
