//! A question for points, of typed parts only, and its answer; the same for every store.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::rows::METRICS;
use super::span::Span;
use super::table::{Aggregation, Kind, Metric};
use crate::domain::Timestamp;

/// Rollups are of so many milliseconds.
pub const ROLLUP_MS: u64 = 300_000;
/// Windows that an interval nobody names is made for.
const AUTO_WINDOWS: u64 = 500;
/// The intervals that are chosen among, in milliseconds.
const STEPS_MS: [u64; 15] = [
    1_000, 5_000, 10_000, 15_000, 30_000, 60_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 10_800_000,
    21_600_000, 43_200_000, 86_400_000,
];

/// What is asked, before it is known to make sense.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: Timestamp,
    pub to: Timestamp,
    pub interval: Option<Span>,
    pub limit: u32,
    /// Values of a tag of which a point has one.
    pub tags: BTreeMap<&'static str, Vec<String>>,
    /// Empty: those for which a mean is right.
    pub metrics: Vec<&'static Metric>,
    pub aggregation: Option<Aggregation>,
    /// Tags that points are kept apart by; `None`: all of them.
    pub group_by: Option<Vec<&'static str>>,
    /// The moment of asking.
    pub now: Timestamp,
    /// Before it there are only rollups.
    pub raw_from: Timestamp,
}

/// A question that makes sense.
#[derive(Clone, Debug)]
pub struct Query {
    /// Inclusive.
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    pub interval: Span,
    /// The newest points are kept.
    pub limit: u32,
    pub tags: BTreeMap<&'static str, Vec<String>>,
    pub metrics: Vec<&'static Metric>,
    pub group_by: Option<Vec<&'static str>>,
    /// Of every metric but rates, which are always sums by second.
    pub aggregation: Aggregation,
}

/// What cannot be asked: the parameter, and why.
pub type Refused = (&'static str, String);

impl Wanted {
    /// # Errors
    /// The parameter that makes no sense.
    pub fn check(self) -> Result<Query, Refused> {
        if self.from >= self.to {
            return Err(("from", format!("expected a time before to ({})", self.to)));
        }
        let metrics = if self.metrics.is_empty() {
            METRICS.iter().filter(|metric| metric.is_listed()).collect()
        } else {
            self.metrics.clone()
        };
        let range_ms = self.to.as_ms().abs_diff(self.from.as_ms());
        // Of what is old there are only rollups.
        let least_ms = if self.from < self.raw_from { ROLLUP_MS } else { 0 };
        let interval = self.interval.unwrap_or_else(|| auto(range_ms, least_ms));
        let mut query = Query {
            from: self.from,
            to: self.to,
            interval,
            limit: self.limit,
            tags: self.tags,
            aggregation: aggregation(self.aggregation, &metrics)?,
            metrics,
            group_by: self.group_by,
        };
        if query.of_rollups() {
            // Whole rollups, so that every store answers the same.
            let step = ROLLUP_MS.cast_signed();
            query.from = Timestamp::from_ms(query.from.as_ms().div_euclid(step) * step);
            query.to = Timestamp::from_ms((query.to.as_ms() + step - 1).div_euclid(step) * step);
        } else if query.from < self.raw_from {
            let message = format!(
                "expected a multiple of 5m: from before {} there are only rollups of 5m",
                self.raw_from
            );
            return Err(("interval", message));
        }
        Ok(query)
    }
}

fn aggregation(asked: Option<Aggregation>, metrics: &[&'static Metric]) -> Result<Aggregation, Refused> {
    let asked = asked.unwrap_or(Aggregation::Mean);
    match metrics {
        // A rate of a window is one number already.
        [metric] if asked != Aggregation::Mean && matches!(metric.kind, Kind::Rate { .. }) => Err((
            "aggregation",
            format!("{} is a sum by second: expected mean, found {asked}", metric.name),
        )),
        _ => Ok(asked),
    }
}

fn auto(range_ms: u64, least_ms: u64) -> Span {
    let least = range_ms.div_ceil(AUTO_WINDOWS).max(least_ms);
    let step = STEPS_MS.into_iter().find(|step| *step >= least);
    let days = least.div_ceil(86_400_000).max(1) * 86_400_000;
    Span::from_ms(step.unwrap_or(days)).unwrap_or_else(|| unreachable!("no step is 0"))
}

impl Query {
    /// Whether its windows are made of whole rollups.
    pub const fn of_rollups(&self) -> bool {
        self.interval.as_ms().is_multiple_of(ROLLUP_MS)
    }

    /// What the answer says of a metric whose window was made into `value` by [`Query::aggregation_of`].
    pub fn value_of(&self, metric: &Metric, value: f64) -> f64 {
        match metric.kind {
            Kind::Gauge | Kind::Delta => value,
            Kind::Rate { .. } => value / self.interval.as_duration().as_secs_f64(),
        }
    }

    /// What a metric of the answer is made by: rates by their sum.
    pub const fn aggregation_of(&self, metric: &Metric) -> Aggregation {
        match metric.kind {
            Kind::Gauge | Kind::Delta => self.aggregation,
            Kind::Rate { .. } => Aggregation::Sum,
        }
    }
}

/// One value of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Sample {
    /// When its window begins.
    pub timestamp: Timestamp,
    pub metric: &'static str,
    pub value: f64,
    pub tags: BTreeMap<String, String>,
}

/// Values by time, then metric, then tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub points: Vec<Sample>,
    /// There were older ones than the limit lets through.
    pub truncated: bool,
}

#[cfg(test)]
mod tests {
    use super::super::table::find;
    use super::*;

    fn wanted(from: &str, to: &str) -> Wanted {
        let to: Timestamp = to.parse().unwrap();
        Wanted {
            from: from.parse().unwrap(),
            to,
            interval: None,
            limit: 1_000,
            tags: BTreeMap::new(),
            metrics: Vec::new(),
            aggregation: None,
            group_by: None,
            now: to,
            raw_from: to - std::time::Duration::from_secs(7 * 86_400),
        }
    }

    const NOON: &str = "2026-01-31T12:00:00Z";

    #[test]
    fn an_interval_nobody_names_makes_up_to_500_windows() {
        for (from, interval) in [
            ("2026-01-31T11:59:00Z", "1s"),
            ("2026-01-31T11:00:00Z", "10s"),
            ("2026-01-30T12:00:00Z", "5m"),
            ("2026-01-24T12:00:00Z", "30m"),
            ("2025-11-02T12:00:00Z", "6h"),
            ("2020-01-31T12:00:00Z", "5d"),
        ] {
            let query = wanted(from, NOON).check().unwrap();
            assert_eq!(query.interval.to_string(), interval, "{from}");
            let windows = query.to.as_ms().abs_diff(query.from.as_ms()) / query.interval.as_ms();
            assert!(windows <= 500, "{windows}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert_eq!(wanted(NOON, NOON).check().unwrap_err().0, "from");
        let mut old = wanted("2026-01-01T00:00:00Z", NOON);
        old.interval = Some("1m".parse().unwrap());
        assert_eq!(old.check().unwrap_err().0, "interval");
        let mut rate = wanted("2026-01-31T11:00:00Z", NOON);
        rate.metrics = vec![find("task_throughput").unwrap()];
        rate.aggregation = Some(Aggregation::Max);
        assert_eq!(rate.check().unwrap_err().0, "aggregation");
    }

    #[test]
    fn what_nobody_names_is_a_mean_and_of_old_times_rollups() {
        let mut mixed = wanted("2026-01-31T11:00:00Z", NOON);
        mixed.metrics = vec![find("input_events").unwrap(), find("rss_bytes").unwrap()];
        assert_eq!(mixed.clone().check().unwrap().aggregation, Aggregation::Mean);
        mixed.aggregation = Some(Aggregation::Max);
        assert_eq!(mixed.check().unwrap().aggregation, Aggregation::Max);
        let mut old = wanted("2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z");
        old.raw_from = NOON.parse().unwrap();
        assert_eq!(old.check().unwrap().interval.to_string(), "5m");
    }

    #[test]
    fn a_rate_is_the_sum_by_the_seconds_of_its_window() {
        let mut asked = wanted("2026-01-31T11:00:30Z", NOON);
        asked.interval = Some("1m".parse().unwrap());
        let query = asked.check().unwrap();
        let rate = find("task_throughput").unwrap();
        assert_eq!(query.aggregation_of(rate), Aggregation::Sum);
        assert_eq!(query.value_of(rate, 75_030.0), 1250.5);
        assert_eq!(query.value_of(find("rss_bytes").unwrap(), 7.0), 7.0);
    }
}
