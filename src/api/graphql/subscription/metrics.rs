//! Points of metrics as they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Source;
use crate::api::Api;
use crate::api::graphql::fault::Answer;
use crate::api::graphql::series::{Metrics, window_of};
use crate::api::problem::Problem;
use crate::api::series::Question;
use crate::domain::Timestamp;
use crate::metrics::Span;

/// The shortest and the longest time between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How late a point may come that still makes its window come again.
const LATE: Duration = Duration::from_secs(30);

/// What makes a point of an answer the same as another.
type Which = (Timestamp, &'static str, BTreeMap<String, String>);

/// Asks again and again for the windows that may still change, and gives what of them is new.
pub struct Followed {
    api: Arc<Api>,
    question: Question,
    interval: Span,
    /// What was given of windows that may still change.
    given: BTreeMap<Which, f64>,
    look_at: Instant,
    begun: bool,
}

impl Followed {
    /// `question`'s end is now, whenever it is asked.
    ///
    /// # Errors
    /// 400 when it names no interval, or begins after now.
    pub fn new(api: &Arc<Api>, question: Question) -> Answer<Self> {
        let interval = question.interval;
        let interval = interval.ok_or_else(|| Problem::bad_parameter("interval", "expected a length such as 10s"))?;
        Ok(Self {
            api: Arc::clone(api),
            question,
            interval,
            given: BTreeMap::new(),
            look_at: Instant::now(),
            begun: false,
        })
    }

    async fn look(&mut self) -> Answer<Metrics> {
        let now = crate::clock::now();
        // The last window ends after now: what is in it must not be cut off.
        (self.question.to, self.question.now) = (now + Duration::from_millis(1), now);
        let mut view = self.api.series(self.question.clone()).await?;
        let given = &mut self.given;
        view.data_points.retain(|sample| {
            let which: Which = (sample.timestamp, sample.metric, sample.tags.clone());
            given.insert(which, sample.value) != Some(sample.value)
        });
        // What is in older windows will not change any more. The first window may begin before what was asked for.
        let begin = window_of(now - LATE, self.interval.as_ms());
        self.question.from = begin.max(self.question.from);
        self.given.retain(|(timestamp, ..), _| *timestamp >= begin);
        Ok(view.into())
    }
}

impl Source for Followed {
    type Item = Metrics;

    async fn next(&mut self) -> Answer<Option<Metrics>> {
        loop {
            tokio::time::sleep_until(self.look_at).await;
            let item = self.look().await?;
            self.look_at = Instant::now() + self.interval.as_duration().clamp(LOOKS.0, LOOKS.1);
            // The first tells what there is, even if that is nothing.
            if !std::mem::replace(&mut self.begun, true) || !item.data_points.is_empty() {
                return Ok(Some(item));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_whole_intervals() {
        let at = |ms| window_of(Timestamp::from_ms(ms), 60_000).as_ms();
        assert_eq!((at(59_999), at(60_000), at(119_999)), (0, 60_000, 60_000));
    }
}
