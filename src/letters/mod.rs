//! Dead letters: records that a pipeline could not process, kept by job with where and why they failed, so that they can be
//! looked at, taken away and replayed.
//!
//! A task's failed records are numbered from 1 over its attempts. An attempt that goes on from a checkpoint counts on from
//! there; one that begins anew counts from 1 again. What it tells takes the place of what earlier attempts told beyond that.
//!
//! Must stay true: a letter that comes twice is kept once; a job has at most so many letters and bytes, and what finds no
//! room is counted; they go with their job.

mod letter;
mod store;

pub use letter::{Letter, MOST_LETTER_BYTES, MOST_LETTERS, MOST_RECORD_BYTES, Told};
pub use store::{Counts, Dead, Key, Letters, Limits, OfNode, Records, Wanted};
