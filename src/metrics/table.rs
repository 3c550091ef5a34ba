//! What a metric is: name, unit, kind, tags and right aggregation. The one table of all of them is in rows.rs: code writes
//! only what is in it, and docs/metrics.md is made from it.

use std::fmt;
use std::str::FromStr;

use super::rows::METRICS;

/// What points of one kind of thing are called together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measurement {
    Task,
    Worker,
    Job,
    System,
}

impl Measurement {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Task => "task_metrics",
            Self::Worker => "worker_metrics",
            Self::Job => "job_metrics",
            Self::System => "system_metrics",
        }
    }
}

/// How values of a window become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    Mean,
    Sum,
    Min,
    Max,
    Last,
    Count,
}

impl Aggregation {
    pub const ALL: [Self; 6] = [Self::Mean, Self::Sum, Self::Min, Self::Max, Self::Last, Self::Count];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Count => "count",
        }
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Aggregation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| format!("expected one of {names}"))
    }
}

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How it is at that moment.
    Gauge,
    /// How much was added since the point before.
    Delta,
    /// No points of its own: the sum of another metric's deltas in a window, by its seconds.
    Rate { of: &'static str },
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub measurement: Measurement,
    pub name: &'static str,
    pub unit: &'static str,
    pub kind: Kind,
    /// How values of a window become one to tell something; a mean is what is given when nobody asks for another.
    pub right: Aggregation,
    pub tags: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    /// Whether an answer has it when no metric is named: rates and gauges, for which a mean is right.
    pub fn is_listed(&self) -> bool {
        self.right == Aggregation::Mean
    }

    /// The metric whose points it is made of.
    pub const fn stored(&self) -> &'static str {
        match self.kind {
            Kind::Gauge | Kind::Delta => self.name,
            Kind::Rate { of } => of,
        }
    }
}

/// Every tag that points may have.
pub const TAGS: [&str; 9] = [
    "job_id",
    "task_id",
    "worker_id",
    "node_id",
    "command_name",
    "component",
    "process",
    "name",
    "dimensions",
];

/// Tags that a point of a metric with them may lack.
pub const OPTIONAL_TAGS: [&str; 2] = ["task_id", "dimensions"];

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write;

    use super::Measurement::{Job, System, Task, Worker};
    use super::*;

    /// docs/metrics.md, but for its head.
    fn rendered() -> String {
        let mut text = String::new();
        for measurement in [Task, Worker, Job, System] {
            let _ = write!(
                text,
                "\n## {}\n\n| metric | unit | kind | aggregation | tags | what it says |\n| --- | --- | --- | --- | --- | --- |\n",
                measurement.name()
            );
            for metric in METRICS.iter().filter(|metric| metric.measurement == measurement) {
                let kind = match metric.kind {
                    Kind::Gauge => "gauge".to_owned(),
                    Kind::Delta => "added since the point before".to_owned(),
                    Kind::Rate { of } => format!("`{of}` by second"),
                };
                let Metric {
                    name,
                    unit,
                    right,
                    help,
                    ..
                } = metric;
                let tags = metric.tags.join(", ");
                let _ = writeln!(text, "| `{name}` | {unit} | {kind} | {right} | {tags} | {help} |");
            }
        }
        text
    }

    #[test]
    fn names_are_unique_and_what_they_refer_to_is_there() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.tags.iter().all(|tag| TAGS.contains(tag)), "{}", metric.name);
            let stored = find(metric.stored()).unwrap();
            assert_eq!((stored.tags, stored.measurement), (metric.tags, metric.measurement));
            assert!(
                metric.stored() == metric.name || stored.kind == Kind::Delta,
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn the_page_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, table) = page.split_once("\n## task_metrics").unwrap();
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, format!("{head}{}", rendered())).unwrap();
            return;
        }
        assert_eq!(
            format!("\n## task_metrics{table}"),
            rendered(),
            "UPDATE_SCHEMAS=1 cargo test --lib metrics::table writes docs/metrics.md anew"
        );
    }
}
