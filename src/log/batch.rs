//! One commit of one shard: what goes in, what comes out.

use std::sync::Arc;

use bytes::Bytes;

use super::chain::{self, Hash, Part};
use crate::domain::{Epoch, Position, Seq, ShardId};
use crate::event::EventRecord;

/// Up to where the bus has been taken into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which bus: offsets of another one mean nothing. Empty: none yet.
    pub bus: Arc<str>,
    /// The next offset of the shard's partition of `grid.commands`.
    pub commands: i64,
    /// The next offset of the shard's partition of `grid.reports`.
    pub reports: i64,
}

/// What a shard wants committed. Without events it is still the epoch-checked update of the shard's row.
#[derive(Clone, Debug)]
pub struct ShardBatch {
    pub shard: ShardId,
    pub epoch: Epoch,
    /// Place of the first event; what the shard's next place must be when there is none.
    pub first_seq: Seq,
    pub events: Arc<[EventRecord]>,
    pub cursor: Cursor,
    /// Up to where the shard's events are published.
    pub published: Seq,
    /// Jobs of earlier days are closed.
    pub closed_before: i32,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    Committed(Committed),
    /// Another owner has claimed the shard, or this process has to claim it anew: nothing was written.
    Fenced,
    /// The database refuses the batch and would refuse it again: nothing was written.
    Refused(String),
    /// It may be in the log or not: claim the shard anew and load it.
    Unknown(String),
}

impl CommitOutcome {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Committed(_) => "committed",
            Self::Fenced => "fenced",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A batch that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub first_seq: Seq,
    /// One less than `first_seq` when there was no event.
    pub last_seq: Seq,
    /// The bytes of the events, in order: what the log holds.
    pub payloads: Arc<[Bytes]>,
}

/// A batch with its events as bytes and all that can be hashed without knowing the batch before it.
#[derive(Debug)]
pub(super) struct Encoded {
    pub batch: ShardBatch,
    pub payloads: Arc<[Bytes]>,
    pub parts: Vec<Part>,
    pub parts_bytes: Vec<u8>,
    /// Size of the payloads.
    pub bytes: usize,
}

impl Encoded {
    pub fn new(batch: ShardBatch) -> Self {
        let mut buffer = Vec::with_capacity(batch.events.len() * 224);
        let mut ends = Vec::with_capacity(batch.events.len());
        for event in batch.events.iter() {
            event.encode_into(&mut buffer);
            ends.push(buffer.len());
        }
        let bytes = buffer.len();
        let whole = Bytes::from(buffer);
        let mut start = 0;
        let slice = |end| {
            let slice = whole.slice(start..end);
            start = end;
            slice
        };
        let payloads: Arc<[Bytes]> = ends.into_iter().map(slice).collect();
        let mut parts = chain::PartsBuilder::default();
        for ((event, payload), seq) in batch.events.iter().zip(&*payloads).zip(batch.first_seq.0..) {
            let position = Position {
                shard: batch.shard,
                seq: Seq(seq),
            };
            parts.add(event.day(), position, event.stream, event.version, payload);
        }
        let parts = parts.finish();
        let parts_bytes = chain::encode_parts(&parts);
        Self {
            batch,
            payloads,
            parts,
            parts_bytes,
            bytes,
        }
    }

    /// The place after its last event.
    pub fn next_seq(&self) -> Seq {
        Seq(self.batch.first_seq.0 + self.batch.events.len() as u64)
    }

    /// The chain's next hash.
    pub fn hash(&self, previous: Hash) -> Hash {
        if self.parts.is_empty() {
            previous
        } else {
            chain::link(previous, &self.parts_bytes)
        }
    }

    pub fn committed(&self) -> Committed {
        Committed {
            first_seq: self.batch.first_seq,
            last_seq: Seq(self.next_seq().0 - 1),
            payloads: Arc::clone(&self.payloads),
        }
    }
}
