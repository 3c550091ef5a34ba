//! Points of metrics.

use async_graphql::{Enum, InputObject, SimpleObject};

use super::fault::Answer;
use super::scalar::{DateTime, Json};
use crate::api::problem::Problem;
use crate::api::series::{Asked, Question, SeriesView};
use crate::domain::Timestamp;
use crate::metrics::{Aggregation, Sample};

/// Values of a tag.
#[derive(InputObject)]
pub struct TagFilter {
    /// Such as `job_id`.
    key: String,
    /// A point has one of them.
    values: Vec<String>,
}

/// How values of a window become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "MetricAggregation")]
pub enum MetricAggregation {
    Mean,
    Sum,
    Min,
    Max,
    Last,
    Count,
}

impl From<MetricAggregation> for Aggregation {
    fn from(asked: MetricAggregation) -> Self {
        match asked {
            MetricAggregation::Mean => Self::Mean,
            MetricAggregation::Sum => Self::Sum,
            MetricAggregation::Min => Self::Min,
            MetricAggregation::Max => Self::Max,
            MetricAggregation::Last => Self::Last,
            MetricAggregation::Count => Self::Count,
        }
    }
}

/// Which metrics, and of what.
#[derive(Default, InputObject)]
pub struct MetricFilter {
    /// Names of metrics; none: all for which a mean is right.
    metrics: Option<Vec<String>>,
    /// How values of a window become one; none: mean. Rates are sums by second whatever it is.
    aggregation: Option<MetricAggregation>,
    /// Tags that points are kept apart by; none: all.
    group_by: Option<Vec<String>>,
    /// Points have all of these tags.
    tags: Option<Vec<TagFilter>>,
}

impl MetricFilter {
    fn asked(self) -> Asked {
        let tags = self.tags.into_iter().flatten().map(|tag| (tag.key, tag.values));
        Asked {
            metrics: self.metrics.unwrap_or_default(),
            aggregation: self.aggregation.map(Aggregation::from),
            group_by: self.group_by.unwrap_or_default(),
            tags: tags.collect(),
            ..Asked::default()
        }
    }

    /// # Errors
    /// 400 as [`Asked::read`], and for a limit that is none.
    pub fn question(self, from: String, to: String, interval: Option<String>, limit: i32) -> Answer<Question> {
        let limit = u32::try_from(limit).unwrap_or_default();
        if !(1..=10_000).contains(&limit) {
            return Err(Problem::bad_parameter("limit", "expected a whole number from 1 to 10000").into());
        }
        let asked = Asked {
            from: Some(from),
            to: Some(to),
            interval,
            limit: Some(limit),
            ..self.asked()
        };
        Ok(asked.read(crate::clock::now())?)
    }
}

/// Values by window, oldest first.
#[derive(SimpleObject)]
pub struct Metrics {
    pub data_points: Vec<DataPoint>,
    /// What windows of metrics that are not rates were made by.
    aggregation: MetricAggregation,
    /// The length of a window, such as `1m`.
    interval: String,
    /// There were older points than `limit` let through.
    truncated: bool,
}

/// One value.
#[derive(SimpleObject)]
pub struct DataPoint {
    /// When its window begins.
    timestamp: DateTime,
    metric: &'static str,
    value: f64,
    tags: Json,
}

impl From<&Sample> for DataPoint {
    fn from(sample: &Sample) -> Self {
        Self {
            timestamp: sample.timestamp.into(),
            metric: sample.metric,
            value: sample.value,
            tags: Json::of(&sample.tags),
        }
    }
}

impl From<SeriesView> for Metrics {
    fn from(view: SeriesView) -> Self {
        Self {
            data_points: view.data_points.iter().map(DataPoint::from).collect(),
            aggregation: match view.aggregation {
                Aggregation::Mean => MetricAggregation::Mean,
                Aggregation::Sum => MetricAggregation::Sum,
                Aggregation::Min => MetricAggregation::Min,
                Aggregation::Max => MetricAggregation::Max,
                Aggregation::Last => MetricAggregation::Last,
                Aggregation::Count => MetricAggregation::Count,
            },
            interval: view.interval,
            truncated: view.truncated,
        }
    }
}

/// Where the window begins in which `at` is.
pub fn window_of(at: Timestamp, interval_ms: u64) -> Timestamp {
    let step = interval_ms.cast_signed().max(1);
    Timestamp::from_ms(at.as_ms().div_euclid(step) * step)
}
