//! Position tokens: "at least as new as this", for people to hand back.
//!
//! Opaque and versioned: base64url (RFC 4648, section 5, no padding) of a version byte, the log's timeline (16 bytes) and
//! for each shard of a sparse vector its number and sequence number, both as LEB128, in the order of the shards.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::domain::{Position, Seq, ShardId};

const VERSION: u8 = 1;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Of a token that names every shard there can be, and some more.
const MAX_CHARS: usize = 65_536 * 20;

/// Places in the log of one timeline, at most one a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionToken {
    pub timeline: Uuid,
    seqs: BTreeMap<ShardId, Seq>,
}

/// A text that is no position token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("it is not a position: take it whole from an answer of this API")]
    Malformed,
    #[error("it is a position of version {0}, which this server does not know")]
    Version(u8),
}

impl PositionToken {
    pub fn new(timeline: Uuid, position: Position) -> Self {
        Self {
            timeline,
            seqs: BTreeMap::from([(position.shard, position.seq)]),
        }
    }

    /// Of several positions; the later one of each shard.
    pub fn of(timeline: Uuid, positions: impl IntoIterator<Item = Position>) -> Self {
        let mut seqs = BTreeMap::new();
        for Position { shard, seq } in positions {
            let at = seqs.entry(shard).or_insert(seq);
            *at = seq.max(*at);
        }
        Self { timeline, seqs }
    }

    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.seqs.iter().map(|(&shard, &seq)| Position { shard, seq })
    }
}

impl fmt::Display for PositionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(32);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.timeline.as_bytes());
        for (shard, seq) in &self.seqs {
            push_number(&mut bytes, u64::from(shard.0));
            push_number(&mut bytes, seq.0);
        }
        f.write_str(&to_base64url(&bytes))
    }
}

impl FromStr for PositionToken {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let bytes = from_base64url(text).ok_or(PositionError::Malformed)?;
        let (&version, rest) = bytes.split_first().ok_or(PositionError::Malformed)?;
        if version != VERSION {
            return Err(PositionError::Version(version));
        }
        let (timeline, mut rest) = rest.split_at_checked(16).ok_or(PositionError::Malformed)?;
        let timeline = Uuid::from_slice(timeline).map_err(|_| PositionError::Malformed)?;
        let mut seqs = BTreeMap::new();
        while !rest.is_empty() {
            let shard = take_number(&mut rest).and_then(|shard| u16::try_from(shard).ok());
            let shard = ShardId(shard.ok_or(PositionError::Malformed)?);
            let seq = Seq(take_number(&mut rest).ok_or(PositionError::Malformed)?);
            let ascending = seqs.last_key_value().is_none_or(|(last, _)| *last < shard);
            if !ascending {
                return Err(PositionError::Malformed);
            }
            seqs.insert(shard, seq);
        }
        Ok(Self { timeline, seqs })
    }
}

impl serde::Serialize for PositionToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Also for other opaque texts of the API.
pub fn to_base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| {
            (bits << 8) | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for place in 0..=group.len() {
            let six = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(char::from(ALPHABET[six as usize]));
        }
    }
    text
}

/// Accepts what [`to_base64url`] writes, and nothing else.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_CHARS || text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for place in 0..4 {
            let six = match group.get(place) {
                Some(byte) => ALPHABET.iter().position(|known| known == byte)? as u32,
                None => 0,
            };
            bits = (bits << 6) | six;
        }
        let whole = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        let (kept, rest) = whole.split_at(group.len() - 1);
        // Bits beyond the last byte would make two texts of one token.
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_written(timeline in any::<u128>(), seqs in prop::collection::vec((any::<u16>(), any::<u64>()), 0..20)) {
            let positions = seqs.iter().map(|(shard, seq)| Position { shard: ShardId(*shard), seq: Seq(*seq) });
            let token = PositionToken::of(Uuid::from_u128(timeline), positions);
            prop_assert_eq!(token.to_string().parse::<PositionToken>(), Ok(token));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9_-]{0,80}") {
            if let Ok(token) = text.parse::<PositionToken>() {
                prop_assert_eq!(token.to_string().parse::<PositionToken>(), Ok(token));
            }
        }

        #[test]
        fn bytes_are_read_as_written(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(from_base64url(&to_base64url(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "A", "x y", "AQ", "AQ==", "ä"] {
            assert_eq!(text.parse::<PositionToken>(), Err(PositionError::Malformed), "{text}");
        }
        let newer = to_base64url(&[9; 17]);
        assert_eq!(newer.parse::<PositionToken>(), Err(PositionError::Version(9)));
    }

    #[test]
    fn a_token_of_version_1_stays_readable() {
        let timeline = Uuid::from_u128(0x0198_c2a0_7c00_7000_8000_0000_0000_0001);
        let token = PositionToken::new(
            timeline,
            Position {
                shard: ShardId(29),
                seq: Seq(300),
            },
        );
        assert_eq!(token.to_string(), "AQGYwqB8AHAAgAAAAAAAAAEdrAI");
        assert_eq!("AQGYwqB8AHAAgAAAAAAAAAEdrAI".parse(), Ok(token));
    }
}
