//! The chain of hashes over a shard's commits.
//!
//! Each commit has parts: for every day that its events belong to, their ranges of `seq` and the SHA-256 over position,
//! stream, version and bytes of each, in order. The commit's hash covers the one before it and the parts. So a part can
//! stand for a day whose events are gone, and the chain still proves all others.
//!
//! Must stay true: what is hashed, and its order, never changes; a change needs a new `log_format`.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Position, Seq, StreamId};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text.as_ref(), &mut hash).map_err(serde::de::Error::custom)?;
        Ok(Self(hash))
    }
}

impl Hash {
    /// `None` when it is not 32 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// The events of one day in one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub day: i32,
    /// First and last `seq` of each unbroken run, rising.
    pub ranges: Vec<(u64, u64)>,
    pub sha256: Hash,
}

impl Part {
    pub fn events(&self) -> u64 {
        self.ranges
            .iter()
            .map(|(first, last)| last.saturating_sub(*first) + 1)
            .sum()
    }
}

/// The canonical form that is stored and hashed.
pub(super) fn encode_parts(parts: &[Part]) -> Vec<u8> {
    // Numbers and text only: it cannot fail.
    serde_json::to_vec(parts).unwrap_or_default()
}

pub(super) fn decode_parts(bytes: &[u8]) -> Result<Vec<Part>, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// The hash of a commit.
pub(super) fn link(previous: Hash, parts: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(previous.0);
    sha.update(parts);
    Hash(sha.finalize().into())
}

type Ranges = Vec<(u64, u64)>;

/// Makes the parts of a commit from its events in order. Days come in the order of their first event.
#[derive(Default)]
pub(super) struct PartsBuilder {
    days: Vec<(i32, Ranges, Sha256)>,
}

impl PartsBuilder {
    pub fn add(&mut self, day: i32, position: Position, stream: StreamId, version: u32, payload: &[u8]) {
        // A commit rarely has events of more than two days.
        let index = self
            .days
            .iter()
            .position(|(other, ..)| *other == day)
            .unwrap_or_else(|| {
                self.days.push((day, Vec::new(), Sha256::new()));
                self.days.len() - 1
            });
        let Some((_, ranges, sha)) = self.days.get_mut(index) else {
            return;
        };
        let Seq(seq) = position.seq;
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => ranges.push((seq, seq)),
        }
        sha.update(entry_head(position, stream, version, payload.len()));
        sha.update(payload);
    }

    pub fn finish(self) -> Vec<Part> {
        let part = |(day, ranges, sha): (_, _, Sha256)| Part {
            day,
            ranges,
            sha256: Hash(sha.finalize().into()),
        };
        self.days.into_iter().map(part).collect()
    }
}

/// shard 2, seq 8, uuid 16, task 4, version 4, worker 1, length 4 bytes; numbers big-endian.
fn entry_head(position: Position, stream: StreamId, version: u32, length: usize) -> [u8; 39] {
    let (id, task) = stream.columns();
    let mut head = [0; 39];
    head[0..2].copy_from_slice(&position.shard.0.to_be_bytes());
    head[2..10].copy_from_slice(&position.seq.0.to_be_bytes());
    head[10..26].copy_from_slice(id.as_bytes());
    head[26..30].copy_from_slice(&task.to_be_bytes());
    head[30..34].copy_from_slice(&version.to_be_bytes());
    head[34] = u8::from(stream.is_worker());
    head[35..39].copy_from_slice(&(length as u32).to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{JobId, ShardId};
    use uuid::Uuid;

    fn at(seq: u64) -> Position {
        Position {
            shard: ShardId(3),
            seq: Seq(seq),
        }
    }

    fn job(low: u128) -> StreamId {
        StreamId::Job(JobId(Uuid::from_u128(low)))
    }

    #[test]
    fn parts_split_by_day_and_keep_runs_together() {
        let mut parts = PartsBuilder::default();
        for (seq, day) in [(7, 1), (8, 1), (9, 2), (10, 1)] {
            parts.add(day, at(seq), job(1), 1, b"{}");
        }
        let parts = parts.finish();
        assert_eq!(parts[0].ranges, [(7, 8), (10, 10)]);
        assert_eq!((parts[0].day, parts[1].day, parts[0].events()), (1, 2, 3));
        assert_eq!(parts[1].ranges, [(9, 9)]);
        assert_eq!(decode_parts(&encode_parts(&parts)).unwrap(), parts);
    }

    #[test]
    fn everything_that_identifies_an_event_is_hashed() {
        let hash = |seq, stream, version, payload: &[u8]| {
            let mut parts = PartsBuilder::default();
            parts.add(1, at(seq), stream, version, payload);
            parts.finish()[0].sha256
        };
        let base = hash(1, job(1), 1, b"a");
        for other in [
            hash(2, job(1), 1, b"a"),
            hash(1, job(2), 1, b"a"),
            hash(1, job(1), 2, b"a"),
            hash(1, job(1), 1, b"b"),
        ] {
            assert_ne!(base, other);
        }
    }

    /// Stored for ever: computed once by other means (Python's hashlib).
    #[test]
    fn the_form_is_fixed() {
        let mut parts = PartsBuilder::default();
        parts.add(
            20_000,
            at(1),
            job(0x0198_c2a0_7c00_7000_8000_0000_0000_0001),
            1,
            br#"{"v":1}"#,
        );
        let bytes = encode_parts(&parts.finish());
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            r#"[{"day":20000,"ranges":[[1,1]],"sha256":"874f94604039a1fb30e07b6ecbe53df15fece0aca0fbb0d11234925f887e468f"}]"#
        );
        assert_eq!(
            link(Hash::default(), &bytes).to_string(),
            "6dc8e804ca162403e0f9dddd4d9c8ead16b1707cdb07617a8eb13a533716677a"
        );
    }
}
