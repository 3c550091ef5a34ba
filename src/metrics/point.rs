//! A point: what one thing measured at one moment.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

use super::rows::METRICS;
use super::table::{Metric, OPTIONAL_TAGS, TAGS, find};

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
    /// Not every store can hold every text: control characters become spaces, and a backslash at the end a slash.
    pub fn new(at: Timestamp, mut tags: Tags) -> Self {
        for value in tags.values_mut() {
            if value.contains(char::is_control) {
                *value = value.replace(char::is_control, " ");
            }
            if value.ends_with('\\') {
                value.pop();
                value.push('/');
            }
        }
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
            metric.is_some_and(|metric| {
                let has = |tag: &&&str| self.tags.contains_key(**tag);
                let missing = metric.tags.iter().filter(|tag| !has(tag));
                missing.clone().all(|tag| OPTIONAL_TAGS.contains(tag))
                    && metric.tags.len() - missing.count() == self.tags.len()
            }),
            "{name} is no metric with the tags {:?}",
            self.tags
        );
        if let Some(metric) = metric.filter(|_| value.is_finite()) {
            self.values.push((metric, value));
        }
        self
    }

    /// As it waits on disk.
    pub(super) fn stored(&self) -> StoredPoint<'_> {
        StoredPoint {
            at: self.at.as_ms(),
            tags: self
                .tags
                .iter()
                .map(|(tag, value)| (Cow::Borrowed(*tag), Cow::Borrowed(value.as_str())))
                .collect(),
            values: self
                .values
                .iter()
                .map(|(metric, value)| (Cow::Borrowed(metric.name), *value))
                .collect(),
        }
    }

    /// What another version has written there may have tags and metrics that are in no table any more: they are left out.
    pub(super) fn from_stored(stored: StoredPoint<'_>) -> Self {
        let tag = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
            let tag = TAGS.into_iter().find(|tag| *tag == name)?;
            Some((tag, value.into_owned()))
        };
        let mut point = Self::new(
            Timestamp::from_ms(stored.at),
            stored.tags.into_iter().filter_map(tag).collect(),
        );
        let values = stored.values.into_iter();
        point.values = values.filter_map(|(name, value)| Some((find(&name)?, value))).collect();
        point
    }

    pub fn values(&self) -> &[(&'static Metric, f64)] {
        &self.values
    }
}

/// A point as it waits on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPoint<'a> {
    at: i64,
    #[serde(borrow)]
    tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    values: Vec<(Cow<'a, str>, f64)>,
}
