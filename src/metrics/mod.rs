//! Points of metrics: what they are (one table), how they are taken in, kept and asked for.
//!
//! Must stay true: nothing here is in the log of events; who measures never waits for a store, and what is dropped
//! instead is counted; a question is made of typed parts only, never of a client's text.

mod intake;
mod options;
mod point;
mod query;
mod rows;
mod span;
mod spill;
mod store;
mod table;
mod writer;

pub use intake::{Intake, Pace, Points};
pub use options::{InfluxOptions, MetricsOptions, Tagging, TaskTag};
pub use point::{Point, Tags};
pub use query::{Answer, Query, Sample, Wanted};
pub use rows::METRICS;
pub use span::{Span, read_moment};
pub use store::{Embedded, Influx, Keeping, MetricStore, StoreError};
pub use table::{Aggregation, Kind, Measurement, Metric, TAGS, find};
