//! A point: what one thing measured at one moment.

use std::collections::BTreeMap;

use crate::domain::Timestamp;

use super::table::{METRICS, Metric};

/// Name and value of each tag.
pub type Tags = BTreeMap<&'static str, String>;

/// Values of some metrics with the same tags, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub tags: Tags,
    /// Finite numbers, by metric.
    values: Vec<(&'static Metric, f64)>,
}

impl Point {
    pub const fn new(at: Timestamp, tags: Tags) -> Self {
        Self {
            at,
            tags,
            values: Vec::new(),
        }
    }

    /// With a value of a metric of the table. What is no number, or in no table, is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        debug_assert!(
            metric.is_some_and(|metric| metric
                .tags
                .iter()
                .eq(metric.tags.iter().filter(|tag| self.tags.contains_key(*tag)))
                && metric.tags.len() == self.tags.len()),
            "{name} is no metric with the tags {:?}",
            self.tags
        );
        if let Some(metric) = metric.filter(|_| value.is_finite()) {
            self.values.push((metric, value));
        }
        self
    }

    pub fn values(&self) -> &[(&'static Metric, f64)] {
        &self.values
    }
}
