//! What one attempt may report, and what became of it.
//!
//! Must stay true: what is refused has left nothing behind; an attempt makes only so many series and values, whatever it
//! sends; job, task and worker of a point are those of the attempt.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::line::{BadLine, Line, Precision, read};
use crate::domain::Timestamp;
use crate::metrics::{Point, Points, Tags};

/// Different names with different tags that an attempt may report.
const MOST_SERIES: usize = 200;
/// Values that it may report at once, and by second for long.
const BURST_VALUES: f64 = 10_000.0;
const VALUES_PER_SECOND: f64 = 100.0;
/// Times may be so much before its begin, and after now.
const BEFORE: Duration = Duration::from_secs(3_600);
const AHEAD: Duration = Duration::from_secs(60);

/// Why a report was refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refused {
    Line(BadLine),
    /// To be tried again after so long.
    TooMuch(Duration),
    /// Never to be taken.
    Never(String),
}

impl Refused {
    const fn name(&self) -> &'static str {
        match self {
            Self::Line(_) => "bad_line",
            Self::TooMuch(_) => "too_much",
            Self::Never(_) => "never",
        }
    }
}

/// Takes the reports of one attempt.
pub(super) struct Sink {
    points: Points,
    tags: Tags,
    begun: Timestamp,
    state: Mutex<State>,
}

struct State {
    series: HashSet<(String, String)>,
    /// Values that may come now.
    room: f64,
    filled: Instant,
}

impl Sink {
    pub(super) fn new(points: Points, tags: Tags) -> Self {
        Self {
            points,
            tags,
            begun: crate::clock::now(),
            state: Mutex::new(State {
                series: HashSet::new(),
                room: BURST_VALUES,
                filled: Instant::now(),
            }),
        }
    }

    /// Takes a whole report, or nothing of it.
    pub(super) fn take(&self, text: &str, precision: Precision) -> Result<(), Refused> {
        let taken = self.take_at(text, precision, Instant::now());
        if let Err(refused) = &taken {
            metrics::counter!("grid_worker_refused_reported_total", "why" => refused.name()).increment(1);
        }
        taken
    }

    fn take_at(&self, text: &str, precision: Precision, moment: Instant) -> Result<(), Refused> {
        let now = crate::clock::now();
        let lines = read(text, precision).map_err(Refused::Line)?;
        let (earliest, latest) = (self.begun - BEFORE, now + AHEAD);
        let is_far = |line: &&Line| line.at.is_some_and(|at| at < earliest || at > latest);
        if let Some(Line { number, .. }) = lines.iter().find(is_far) {
            let why = format!("its time is not between {earliest} and {latest}; precision says what times count");
            return Err(Refused::Line(BadLine { line: *number, why }));
        }
        self.make_room(&lines, moment)?;
        let values: usize = lines.iter().map(|line| line.values.len()).sum();
        metrics::counter!("grid_worker_reported_values_total").increment(values as u64);
        for line in lines {
            let mut tags = self.tags.clone();
            if !line.dimensions.is_empty() {
                tags.insert("dimensions", line.dimensions);
            }
            for (name, value) in line.values {
                let mut tags = tags.clone();
                tags.insert("name", name);
                self.points
                    .put(Point::new(line.at.unwrap_or(now), tags).with("reported", value));
            }
        }
        Ok(())
    }

    fn make_room(&self, lines: &[Line], now: Instant) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let named = lines.iter().flat_map(|line| {
            let names = line.values.iter().map(|(name, _)| name.clone());
            names.map(|name| (name, line.dimensions.clone()))
        });
        let fresh: HashSet<_> = named.filter(|series| !state.series.contains(series)).collect();
        if state.series.len() + fresh.len() > MOST_SERIES {
            let message = format!("an attempt may report {MOST_SERIES} different names with tags; these are more");
            return Err(Refused::Never(message));
        }
        let values = lines.iter().map(|line| line.values.len()).sum::<usize>() as f64;
        if values > BURST_VALUES {
            let message = format!("{values} values; at most {BURST_VALUES} are taken at a time");
            return Err(Refused::Never(message));
        }
        let came = now.saturating_duration_since(state.filled).as_secs_f64() * VALUES_PER_SECOND;
        state.room = (state.room + came).min(BURST_VALUES);
        state.filled = now;
        if values > state.room {
            let wait = (values - state.room) / VALUES_PER_SECOND;
            return Err(Refused::TooMuch(Duration::from_secs_f64(wait)));
        }
        state.room -= values;
        state.series.extend(fresh);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink() -> Sink {
        let tags = [("job_id", "job-1"), ("task_id", "task-1"), ("worker_id", "worker-1")];
        Sink::new(
            Points::discard(),
            tags.map(|(name, value)| (name, value.to_owned())).into(),
        )
    }

    /// Lines of so many fields each, of measurements by number.
    fn report(measurements: std::ops::Range<usize>, fields: usize) -> String {
        let fields = (0..fields).map(|at| format!("f{at}=1")).collect::<Vec<_>>().join(",");
        measurements.map(|number| format!("m{number} {fields}\n")).collect()
    }

    #[test]
    fn values_come_at_a_rate_after_a_burst() {
        let sink = sink();
        let begun = Instant::now();
        let take = |lines: usize, after_ms: u64| {
            let text = "m a=1,b=1\n".repeat(lines);
            sink.take_at(&text, Precision::Nanoseconds, begun + Duration::from_millis(after_ms))
        };
        assert_eq!(take(5_000, 0), Ok(()));
        assert_eq!(take(25, 0), Err(Refused::TooMuch(Duration::from_millis(500))));
        assert_eq!(take(25, 500), Ok(()));
        assert!(matches!(take(5_001, 1_000_000), Err(Refused::Never(_))));
    }

    #[test]
    fn series_are_bounded_and_what_is_refused_makes_none() {
        let sink = sink();
        let take = |text: &str| sink.take(text, Precision::Nanoseconds);
        assert_eq!(take(&report(0..75, 2)), Ok(()));
        assert!(matches!(take(&report(75..105, 2)), Err(Refused::Never(_))));
        assert_eq!(take(&report(0..100, 2)), Ok(()), "50 more");
        assert!(matches!(take("other v=1"), Err(Refused::Never(_))));
        assert_eq!(take("m0 f0=2"), Ok(()));
    }

    #[test]
    fn times_are_near_the_attempt() {
        let now = crate::clock::now().as_ms();
        let take = |at: i64, precision| sink().take(&format!("m v=1 {at}"), precision);
        assert_eq!(take(now, Precision::Milliseconds), Ok(()));
        assert_eq!(take(now * 1_000_000, Precision::Nanoseconds), Ok(()));
        assert!(matches!(take(now, Precision::Nanoseconds), Err(Refused::Line(_))));
        assert!(matches!(
            take(now / 1_000 + 3_600, Precision::Seconds),
            Err(Refused::Line(_))
        ));
    }
}
