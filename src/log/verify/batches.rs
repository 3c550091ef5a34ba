//! The chain of a shard's commits against its events.

use std::collections::{BTreeSet, VecDeque};

use sqlx::{PgPool, Row};

use super::difference::{Difference, DifferenceKind, Differences};
use crate::domain::{Position, Seq, ShardId};
use crate::log::chain::{self, Hash, Part, PartsBuilder};
use crate::log::{Error, StoredEvent};

const PAGE_BATCHES: i64 = 2_000;

struct Batch {
    first: u64,
    last: u64,
    /// `None`: they make no sense, which was said already.
    parts: Option<Vec<Part>>,
}

/// The commit in whose range the events are, what they add up to, and their days and places.
type Current = (Batch, PartsBuilder, Vec<(i32, u64)>);

/// Takes the shard's events in order and holds them against the commits.
pub(super) struct ChainCheck {
    pool: PgPool,
    shard: ShardId,
    /// The last event to be looked at.
    head: Seq,
    retired: BTreeSet<i32>,
    ahead: VecDeque<Batch>,
    /// Last event of the last batch read.
    read_to: u64,
    hash: Hash,
    exhausted: bool,
    current: Option<Current>,
    /// Events that only the parts tell of.
    pub archived: u64,
}

impl ChainCheck {
    pub fn new(pool: PgPool, shard: ShardId, head: Seq, retired: BTreeSet<i32>) -> Self {
        Self {
            pool,
            shard,
            head,
            retired,
            ahead: VecDeque::new(),
            read_to: 0,
            hash: Hash::default(),
            exhausted: false,
            current: None,
            archived: 0,
        }
    }

    /// The next event.
    pub async fn take(&mut self, stored: &StoredEvent, found: &mut Differences) -> Result<(), Error> {
        let Seq(seq) = stored.position.seq;
        while self.current.as_ref().is_none_or(|(batch, ..)| seq > batch.last) {
            self.finish_current(found);
            if !self.next(found).await? {
                break;
            }
        }
        match &mut self.current {
            Some((batch, parts, seen)) if (batch.first..=batch.last).contains(&seq) => {
                let payload = &stored.payload;
                parts.add(stored.day, stored.position, stored.stream, stored.version, payload);
                seen.push((stored.day, seq));
            }
            _ => found.add(Difference::of_event(
                DifferenceKind::ExtraEvent,
                stored,
                "no event: no commit covers it",
                "one",
            )),
        }
        Ok(())
    }

    /// No event is left: what the commits still tell of is missing.
    pub async fn finish(&mut self, last_hash: Hash, found: &mut Differences) -> Result<(), Error> {
        loop {
            self.finish_current(found);
            if !self.next(found).await? {
                break;
            }
        }
        if self.read_to != self.head.0 {
            let difference = Difference::new(
                DifferenceKind::Chain,
                self.shard,
                format!("commits up to {}", self.head),
                format!("commits up to {}", self.read_to),
            );
            found.add(difference.at(self.place(self.read_to)));
        } else if self.hash != last_hash {
            let difference = Difference::new(
                DifferenceKind::Head,
                self.shard,
                self.hash.to_string(),
                last_hash.to_string(),
            );
            found.add(difference.at(self.place(self.head.0)));
        }
        Ok(())
    }

    const fn place(&self, seq: u64) -> Position {
        Position {
            shard: self.shard,
            seq: Seq(seq),
        }
    }

    async fn next(&mut self, found: &mut Differences) -> Result<bool, Error> {
        if self.ahead.is_empty() && !self.exhausted {
            self.read(found).await?;
        }
        self.current = self
            .ahead
            .pop_front()
            .map(|batch| (batch, PartsBuilder::default(), Vec::new()));
        Ok(self.current.is_some())
    }

    async fn read(&mut self, found: &mut Differences) -> Result<(), Error> {
        let page = "SELECT first_seq, last_seq, prev_hash, hash, parts, days FROM batches
                    WHERE shard = $1 AND last_seq > $2 AND last_seq <= $3 ORDER BY last_seq LIMIT $4";
        let query = sqlx::query(page).bind(self.shard.0 as i16).bind(self.read_to as i64);
        let rows = query
            .bind(self.head.0 as i64)
            .bind(PAGE_BATCHES)
            .fetch_all(&self.pool)
            .await?;
        self.exhausted = rows.len() < PAGE_BATCHES as usize;
        for row in rows {
            let (first, last) = (row.try_get::<i64, _>(0)? as u64, row.try_get::<i64, _>(1)? as u64);
            let (previous, hash, bytes): (Vec<u8>, Vec<u8>, Vec<u8>) =
                (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let days: Vec<i32> = row.try_get(5)?;
            let mut differ = |seq, expected: String, got: String| {
                let place = Position {
                    shard: self.shard,
                    seq: Seq(seq),
                };
                found.add(Difference::new(DifferenceKind::Chain, self.shard, expected, got).at(place));
            };
            if first != self.read_to + 1 {
                differ(
                    first,
                    format!("a commit that begins with {}", self.read_to + 1),
                    format!("one with {first}"),
                );
            }
            if previous != self.hash.0 {
                differ(first, format!("previous hash {}", self.hash), hex::encode(&previous));
            }
            let linked = chain::link(Hash::from_slice(&previous).unwrap_or_default(), &bytes);
            if hash != linked.0 {
                differ(first, format!("hash {linked}"), hex::encode(&hash));
            }
            let parts = chain::decode_parts(&bytes).unwrap_or_default();
            let of_parts: BTreeSet<i32> = parts.iter().map(|part| part.day).collect();
            let sound = covers(&parts, first, last);
            if !sound || days.iter().copied().collect::<BTreeSet<_>>() != of_parts {
                differ(
                    first,
                    format!("parts that cover {first} to {last}"),
                    String::from_utf8_lossy(&bytes).into_owned(),
                );
            }
            self.hash = Hash::from_slice(&hash).unwrap_or_default();
            self.read_to = last;
            self.ahead.push_back(Batch {
                first,
                last,
                parts: sound.then_some(parts),
            });
        }
        Ok(())
    }

    fn finish_current(&mut self, found: &mut Differences) {
        let Some((
            Batch {
                first: batch_first,
                parts: Some(committed),
                ..
            },
            parts,
            seen,
        )) = self.current.take()
        else {
            return;
        };
        let folded = parts.finish();
        let mut intact = true;
        let seen: BTreeSet<(i32, u64)> = seen.into_iter().collect();
        let mut told = BTreeSet::new();
        for part in &committed {
            if self.retired.contains(&part.day) {
                self.archived += part.events();
                continue;
            }
            for seq in part.ranges.iter().flat_map(|(first, last)| *first..=*last) {
                told.insert((part.day, seq));
                if !seen.contains(&(part.day, seq)) {
                    intact = false;
                    let event = format!("an event of day {}", part.day);
                    let missing = Difference::new(DifferenceKind::MissingEvent, self.shard, event, "none");
                    found.add(missing.at(self.place(seq)));
                }
            }
        }
        for (day, seq) in seen.difference(&told) {
            intact = false;
            let extra = format!("one of day {day}");
            let extra = Difference::new(
                DifferenceKind::ExtraEvent,
                self.shard,
                "no such event in the commit",
                extra,
            );
            found.add(extra.at(self.place(*seq)));
        }
        if !intact {
            return;
        }
        for part in committed.iter().filter(|part| !self.retired.contains(&part.day)) {
            let same_day = folded.iter().find(|folded| folded.day == part.day);
            if same_day.is_none_or(|folded| folded.sha256 != part.sha256) {
                let events = format!(
                    "the committed events {:?} of day {}: {}",
                    part.ranges, part.day, part.sha256
                );
                let got = same_day.map_or_else(String::new, |folded| folded.sha256.to_string());
                let difference = Difference::new(DifferenceKind::Hash, self.shard, events, got);
                found.add(difference.at(self.place(batch_first)));
            }
        }
    }
}

/// Whether the parts' ranges are exactly `first..=last`, each once.
fn covers(parts: &[Part], first: u64, last: u64) -> bool {
    let mut ranges: Vec<(u64, u64)> = parts.iter().flat_map(|part| part.ranges.iter().copied()).collect();
    ranges.sort_unstable();
    let mut next = first;
    for (from, to) in ranges {
        if from != next || to < from {
            return false;
        }
        next = to + 1;
    }
    next == last + 1
}
