//! The way of failed records out of a run, to be kept as dead letters of its job.
//!
//! Must stay true: a run waits for nobody here; what it sends is bounded by number and bytes, and whatever finds no room is
//! counted, which is told in its place.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vrl::value::Value;

use crate::clock;
use crate::letters::{Letter, MOST_LETTER_BYTES, MOST_LETTERS, MOST_RECORD_BYTES};

/// How often it is told at most how many have failed for which there is no room.
const TELLING: Duration = Duration::from_secs(1);
/// Of a record that is too long.
const BEGINNING_BYTES: usize = 1024;
const MOST_ERROR_BYTES: usize = 4 * 1024;

type Post = dyn Fn(u64, u64, Option<Letter>) -> bool + Send + Sync;

/// Where a run hands failed records over; clones are the same place.
#[derive(Clone, Default)]
pub struct Letterbox(Option<Arc<Post>>);

impl Letterbox {
    /// `post` gets how many had failed where the run went on from an earlier one, how many have by now, and the letter of
    /// the last one, if it has one; it says whether that has found room, and does not wait.
    pub fn new(post: impl Fn(u64, u64, Option<Letter>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(post)))
    }
}

impl fmt::Debug for Letterbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() { "Letterbox" } else { "Nowhere" })
    }
}

/// A run's end of it: counts, and knows what it may still send.
pub(super) struct Tray {
    letterbox: Letterbox,
    after: u64,
    failed: u64,
    /// Up to which the other side knows that they have failed.
    told: u64,
    told_at: Instant,
    left: u64,
    left_bytes: usize,
}

impl Tray {
    /// `after`: how many had failed where the run goes on.
    pub fn begin(letterbox: Letterbox, attempt: u32, after: u64) -> Self {
        if let Some(post) = letterbox.0.as_ref().filter(|_| attempt > 1) {
            // What earlier attempts told beyond that is not so any more, also when nothing fails now.
            post(after, after, None);
        }
        Self {
            letterbox,
            after,
            failed: after,
            told: after,
            told_at: Instant::now(),
            left: MOST_LETTERS,
            left_bytes: MOST_LETTER_BYTES,
        }
    }

    /// How many have failed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether another record would be sent.
    pub fn has_room(&self) -> bool {
        self.letterbox.0.is_some() && self.left > 0 && self.left_bytes > 0
    }

    pub fn put(&mut self, node: &str, error: &str, record: &Value, is_cut: bool) {
        self.failed += 1;
        let Some(post) = self.letterbox.0.clone().filter(|_| self.has_room()) else {
            return;
        };
        // Of texts, numbers, lists and objects: cannot fail.
        let mut record = serde_json::to_string(record).unwrap_or_default();
        let is_long = record.len() > MOST_RECORD_BYTES;
        if is_long {
            record = serde_json::Value::from(beginning(&record, BEGINNING_BYTES)).to_string();
        }
        let letter = Letter {
            at: clock::now(),
            node: node.to_owned(),
            error: beginning(error, MOST_ERROR_BYTES).to_owned(),
            record,
            cut: is_cut || is_long,
        };
        self.left -= 1;
        self.left_bytes = self.left_bytes.saturating_sub(letter.bytes());
        if post(self.after, self.failed, Some(letter)) {
            self.told = self.failed;
        }
    }

    /// Now and then: how many have failed whose letters found no room.
    pub fn tell_in_time(&mut self) {
        if self.told < self.failed && self.told_at.elapsed() >= TELLING {
            self.told_at = Instant::now();
            self.tell();
        }
    }

    pub fn close(&mut self) {
        if self.told < self.failed {
            self.tell();
        }
    }

    fn tell(&mut self) {
        if let Some(post) = &self.letterbox.0
            && post(self.after, self.failed, None)
        {
            self.told = self.failed;
        }
    }
}

fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
