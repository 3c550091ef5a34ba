//! The last lines of a worker, for those who follow them while they are written.
//!
//! Must stay true: positions rise strictly, over restarts of the worker too as long as its clock goes on; lines are kept,
//! and shipped, in their order; what is kept has no more than a stated number of bytes, whoever reads how slowly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::line::Line;
use super::logsql::{Filter, QueryError};
use super::question::Question;

/// Of the fields of a line, besides their texts.
const LINE_BYTES: usize = 512;

/// A worker whose lines nobody wants says so after this time.
pub const SILENCE: Duration = Duration::from_secs(1);

/// Behind what lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    Position(i64),
    /// The last one.
    Last,
    /// Those that are found in the store, when it takes so many microseconds until a line is found.
    Stored {
        lag_us: i64,
    },
}

/// What a worker is asked by whoever follows its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub question: Question,
    pub after: Behind,
}

/// What a worker says of its lines. Positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Lines behind here are given.
    pub begin: i64,
    /// Up to here lines are kept no more.
    pub evicted: i64,
    /// Up to here the API has taken lines.
    pub stored: i64,
    /// Of the last line.
    pub last: i64,
}

/// Lines behind a position.
#[derive(Debug, PartialEq)]
pub enum Look {
    /// Those that are wanted; and where to go on, which may be behind others.
    Lines(Vec<Arc<Line>>, i64),
    /// Some are kept no more.
    Gone,
}

struct Ring {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    evicted: i64,
    last: i64,
}

/// The lines of one worker.
pub struct Recent {
    ring: Mutex<Ring>,
    most_bytes: usize,
    stored: AtomicI64,
    /// The last position; negative when no more come.
    newest: watch::Sender<i64>,
}

impl Recent {
    /// Positions are microseconds since 1970, or one more than the last.
    pub fn new(most_bytes: usize) -> Self {
        let begin = now_us();
        Self {
            ring: Mutex::new(Ring {
                lines: VecDeque::new(),
                bytes: 0,
                evicted: begin,
                last: begin,
            }),
            most_bytes,
            stored: AtomicI64::new(begin),
            newest: watch::channel(begin).0,
        }
    }

    /// Gives the line its position, ships it, and keeps it.
    pub fn take(&self, mut line: Line, ship: impl FnOnce(&Line)) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        line.position = now_us().max(ring.last + 1);
        ring.last = line.position;
        ship(&line);
        ring.bytes += bytes_of(&line);
        ring.lines.push_back(Arc::new(line));
        while ring.bytes > self.most_bytes {
            let Some(oldest) = ring.lines.pop_front() else { break };
            ring.bytes -= bytes_of(&oldest);
            ring.evicted = oldest.position;
        }
        let last = ring.last;
        drop(ring);
        self.newest.send_if_modified(|newest| {
            let goes_on = *newest >= 0;
            *newest = if goes_on { last } else { *newest };
            goes_on
        });
    }

    /// The API has taken lines up to here.
    pub fn note_stored(&self, position: i64) {
        self.stored.fetch_max(position, Ordering::Relaxed);
    }

    pub fn reach(&self, behind: Behind) -> Reach {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.stored.load(Ordering::Relaxed);
        Reach {
            begin: match behind {
                Behind::Position(position) => position,
                Behind::Last => ring.last,
                Behind::Stored { lag_us } => stored.min(now_us().saturating_sub(lag_us)).max(ring.evicted),
            },
            evicted: ring.evicted,
            stored,
            last: ring.last,
        }
    }

    /// What is wanted of the next `most` lines.
    ///
    /// # Errors
    /// When the filter asks for a field that cannot be asked for.
    pub fn after(&self, position: i64, filter: &Filter, most: usize) -> Result<Look, QueryError> {
        let lines: Vec<Arc<Line>> = {
            let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            if position < ring.evicted {
                return Ok(Look::Gone);
            }
            let begin = ring.lines.partition_point(|line| line.position <= position);
            ring.lines.range(begin..).take(most).map(Arc::clone).collect()
        };
        let next = lines.last().map_or(position, |line| line.position);
        let mut wanted = Vec::new();
        for line in lines {
            if filter.wants(&line)? {
                wanted.push(line);
            }
        }
        Ok(Look::Lines(wanted, next))
    }

    /// Returns when there are lines behind the position; false: no more will come.
    pub async fn changed(&self, position: i64) -> bool {
        let mut newest = self.newest.subscribe();
        let seen = newest.wait_for(|newest| *newest < 0 || *newest > position).await;
        seen.is_ok_and(|newest| *newest >= 0)
    }

    /// No more lines come: whoever follows is told after the last one.
    pub fn close(&self) {
        self.newest.send_replace(-1);
    }
}

/// Now, as a position.
pub fn now_us() -> i64 {
    crate::clock::now().as_ms().saturating_mul(1_000)
}

fn bytes_of(line: &Line) -> usize {
    let fields: usize = line
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 64)
        .sum();
    LINE_BYTES + line.message.len() + fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(recent: &Recent, message: &str) -> i64 {
        let mut position = 0;
        let line = Line {
            message: message.to_owned(),
            ..Line::default()
        };
        recent.take(line, |line| position = line.position);
        position
    }

    fn messages(look: Look) -> Vec<String> {
        match look {
            Look::Lines(lines, _) => lines.iter().map(|line| line.message.clone()).collect(),
            Look::Gone => vec!["gone".to_owned()],
        }
    }

    #[test]
    fn lines_are_given_behind_any_position_until_they_are_too_many() {
        let recent = Recent::new(10 * (LINE_BYTES + 2));
        let begin = recent.reach(Behind::Last).last;
        let positions: Vec<i64> = (10..20).map(|number| take(&recent, &number.to_string())).collect();
        assert!(positions.is_sorted_by(|a, b| a < b) && positions[0] > begin);
        let look = |after, most| recent.after(after, &Filter::All, most).unwrap();
        assert_eq!(messages(look(begin, 3)), ["10", "11", "12"]);
        assert_eq!(messages(look(positions[7], 10)), ["18", "19"]);
        assert_eq!(look(positions[9], 10), Look::Lines(Vec::new(), positions[9]));
        let filter = crate::logs::logsql::parse("17", crate::clock::now()).unwrap();
        let Look::Lines(found, next) = recent.after(begin, &filter, 9).unwrap() else {
            panic!()
        };
        assert_eq!((found.len(), next), (1, positions[8]));
        take(&recent, "20");
        assert_eq!(look(begin, 10), Look::Gone);
        assert_eq!(messages(look(positions[0], 2)), ["11", "12"]);
        assert_eq!(recent.reach(Behind::Last).evicted, positions[0]);
    }

    #[tokio::test]
    async fn who_waits_hears_of_lines_and_of_the_end() {
        let recent = Recent::new(1_000_000);
        let begin = recent.reach(Behind::Last).last;
        let (heard, ()) = tokio::join!(recent.changed(begin), async { _ = take(&recent, "a") });
        assert!(heard && recent.changed(begin).await);
        recent.close();
        assert!(!recent.changed(begin).await);
        take(&recent, "b");
        assert!(!recent.changed(begin).await);
    }
}
