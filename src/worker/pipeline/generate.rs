//! A source that makes records up: `{"index": n, …fields}`. The indices of all replicas together are 0 to count - 1.

use std::time::{Duration, Instant};

use vrl::value::{KeyString, ObjectMap, Value};

use super::checkpoint::SourceState;
use super::config::GenerateSourceConfig;
use super::context::RunContext;
use super::engine::Engine;
use super::report::PipelineFailure;
use super::split;

/// Records made between two looks at the switch.
const BATCH: u64 = 1_000;

/// An index must be an integer of VRL; without a count it never comes to that.
pub(super) const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

pub(super) struct GenerateSource {
    next: u64,
    end: u64,
    fields: ObjectMap,
    pace: Option<Pace>,
}

struct Pace {
    per_second: f64,
    begun: Instant,
    made: u64,
}

/// What a step came to.
pub(super) enum Generated {
    More,
    /// Nothing is due before then.
    Wait(Instant),
    Done,
}

impl GenerateSource {
    pub fn new(config: &GenerateSourceConfig, context: &RunContext) -> Self {
        let (next, end) = split::share(
            config.count.unwrap_or(u64::MAX),
            context.replica_index,
            context.replica_count,
        );
        let fields = config
            .fields
            .iter()
            .map(|(name, value)| (KeyString::from(name.as_str()), Value::from(value)));
        let pace = config.rate.map(|rate| Pace {
            per_second: rate / f64::from(context.replica_count.max(1)),
            begun: Instant::now(),
            made: 0,
        });
        Self {
            next,
            end,
            fields: fields.collect(),
            pace,
        }
    }

    pub fn state(&self) -> SourceState {
        SourceState::Generate { next: self.next }
    }

    /// Goes on from there.
    pub fn resume(&mut self, next: u64) {
        self.next = next.clamp(self.next, self.end);
    }

    pub fn step(&mut self, node: usize, engine: &mut Engine<'_>) -> Result<Generated, PipelineFailure> {
        let left = self.end - self.next;
        if left == 0 {
            return Ok(Generated::Done);
        }
        let now = Instant::now();
        let due = self.pace.as_ref().map_or(u64::MAX, |pace| pace.due(now));
        let batch = BATCH.min(left).min(due);
        if let (0, Some(pace)) = (batch, &self.pace) {
            return Ok(Generated::Wait(pace.next(now)));
        }
        for _ in 0..batch {
            let mut record = self.fields.clone();
            record.insert(
                KeyString::from("index"),
                Value::Integer(i64::try_from(self.next).unwrap_or(i64::MAX)),
            );
            self.next += 1;
            engine.counts(node).events_in += 1;
            engine.emit(node, Value::Object(record), None)?;
        }
        if let Some(pace) = &mut self.pace {
            pace.made += batch;
        }
        Ok(Generated::More)
    }
}

impl Pace {
    /// How many records are due beyond those made: the first at once, then one each 1/rate seconds.
    fn due(&self, now: Instant) -> u64 {
        let wanted = now.duration_since(self.begun).as_secs_f64() * self.per_second;
        // A float beyond u64 saturates, which is right here.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; saturating is right"
        )]
        let wanted = wanted as u64;
        wanted.saturating_add(1).saturating_sub(self.made)
    }

    fn next(&self, now: Instant) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "a time to wait needs no 64 bits")]
        let seconds = self.made as f64 / self.per_second;
        let at = Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|after| self.begun.checked_add(after));
        // Never now or earlier, or the wait would spin.
        at.unwrap_or(now).max(now + Duration::from_micros(100))
    }
}
