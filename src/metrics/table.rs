//! The one table of metrics: name, unit, kind, tags and right aggregation of each. Code writes only what is in it, and
//! docs/metrics.md is made from it.

use std::fmt;
use std::str::FromStr;

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
pub const TAGS: [&str; 7] = [
    "job_id",
    "task_id",
    "worker_id",
    "node_id",
    "command_name",
    "component",
    "process",
];

const OF_TASK: &[&str] = &["job_id", "task_id", "worker_id"];
const OF_NODE: &[&str] = &["job_id", "task_id", "worker_id", "node_id", "command_name"];
const OF_WORKER: &[&str] = &["worker_id"];
const OF_JOB: &[&str] = &["job_id"];
const OF_SYSTEM: &[&str] = &["component", "process"];

type Row = (&'static str, &'static str, &'static str);

const fn gauge(measurement: Measurement, tags: &'static [&'static str], (name, unit, help): Row) -> Metric {
    Metric {
        measurement,
        name,
        unit,
        kind: Kind::Gauge,
        right: Aggregation::Mean,
        tags,
        help,
    }
}

const fn delta(measurement: Measurement, tags: &'static [&'static str], row: Row) -> Metric {
    Metric {
        kind: Kind::Delta,
        right: Aggregation::Sum,
        ..gauge(measurement, tags, row)
    }
}

const fn last(measurement: Measurement, tags: &'static [&'static str], row: Row) -> Metric {
    Metric {
        right: Aggregation::Last,
        ..gauge(measurement, tags, row)
    }
}

const fn rate(of: &'static str, row: Row) -> Metric {
    Metric {
        kind: Kind::Rate { of },
        ..gauge(Measurement::Task, OF_TASK, row)
    }
}

use Measurement::{Job, System, Task, Worker};

/// Every metric.
pub static METRICS: &[Metric] = &[
    rate(
        "input_events",
        (
            "task_throughput",
            "events/s",
            "Records that a pipeline read, by second.",
        ),
    ),
    rate(
        "output_events",
        ("output_rate", "events/s", "Records that a pipeline wrote, by second."),
    ),
    rate(
        "input_bytes",
        ("input_byte_rate", "B/s", "Bytes that a pipeline read, by second."),
    ),
    rate(
        "output_bytes",
        ("output_byte_rate", "B/s", "Bytes that a pipeline wrote, by second."),
    ),
    rate("errors", ("error_rate", "events/s", "Records that failed, by second.")),
    rate(
        "log_lines",
        ("log_line_rate", "lines/s", "Lines that a task wrote, by second."),
    ),
    rate(
        "cpu_seconds",
        ("cpu_cores_used", "cores", "Processors that a process kept busy."),
    ),
    gauge(
        Task,
        OF_TASK,
        ("rss_bytes", "B", "Resident memory of a task's processes."),
    ),
    delta(
        Task,
        OF_TASK,
        ("input_events", "events", "Records that a pipeline's sources read."),
    ),
    delta(
        Task,
        OF_TASK,
        ("output_events", "events", "Records that a pipeline's sinks wrote."),
    ),
    delta(
        Task,
        OF_TASK,
        ("input_bytes", "B", "Bytes that a pipeline's sources read."),
    ),
    delta(
        Task,
        OF_TASK,
        ("output_bytes", "B", "Bytes that a pipeline's sinks wrote."),
    ),
    delta(
        Task,
        OF_TASK,
        ("errors", "events", "Records that failed in a pipeline."),
    ),
    delta(
        Task,
        OF_TASK,
        ("dead_letters", "events", "Records that went to the dead letters."),
    ),
    delta(Task, OF_TASK, ("cpu_seconds", "s", "CPU time of a task's processes.")),
    delta(Task, OF_TASK, ("log_lines", "lines", "Lines that a task wrote.")),
    delta(Task, OF_TASK, ("log_bytes", "B", "Bytes of these lines.")),
    last(
        Task,
        OF_TASK,
        (
            "duration_seconds",
            "s",
            "How long the attempt has run, at its end how long it ran.",
        ),
    ),
    delta(
        Task,
        OF_NODE,
        ("node_input_events", "events", "Records that a node of a pipeline took."),
    ),
    delta(
        Task,
        OF_NODE,
        (
            "node_output_events",
            "events",
            "Records that a node of a pipeline gave.",
        ),
    ),
    delta(Task, OF_NODE, ("node_input_bytes", "B", "Bytes that a source read.")),
    delta(Task, OF_NODE, ("node_output_bytes", "B", "Bytes that a sink wrote.")),
    delta(
        Task,
        OF_NODE,
        ("node_errors", "events", "Records that failed at a node of a pipeline."),
    ),
    gauge(
        Worker,
        OF_WORKER,
        (
            "worker_cpu_cores",
            "cores",
            "Processors that the worker's process keeps busy.",
        ),
    ),
    gauge(
        Worker,
        OF_WORKER,
        ("worker_memory_bytes", "B", "Resident memory of the worker's process."),
    ),
    gauge(
        Worker,
        OF_WORKER,
        ("worker_capacity", "tasks", "Tasks that may run at a time."),
    ),
    gauge(Worker, OF_WORKER, ("worker_running", "tasks", "Tasks that run.")),
    gauge(
        Worker,
        OF_WORKER,
        ("worker_queued", "tasks", "Attempts that wait in the worker for a slot."),
    ),
    gauge(
        Job,
        OF_JOB,
        ("job_throughput", "tasks/s", "Tasks that completed, by second."),
    ),
    gauge(Job, OF_JOB, ("tasks_ready", "tasks", "Tasks that are READY.")),
    gauge(Job, OF_JOB, ("tasks_scheduled", "tasks", "Tasks that are SCHEDULED.")),
    gauge(Job, OF_JOB, ("tasks_running", "tasks", "Tasks that are RUNNING.")),
    gauge(Job, OF_JOB, ("tasks_completed", "tasks", "Tasks that are COMPLETED.")),
    gauge(Job, OF_JOB, ("tasks_failed", "tasks", "Tasks that are FAILED.")),
    gauge(
        Job,
        OF_JOB,
        (
            "tasks_retrying",
            "tasks",
            "Tasks that wait for their retry; `tasks_failed` counts them too.",
        ),
    ),
    last(
        Job,
        OF_JOB,
        (
            "processing_seconds",
            "s",
            "Time since the submission; of a finished job until its end.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        ("process_cpu_cores", "cores", "Processors that the process keeps busy."),
    ),
    gauge(
        System,
        OF_SYSTEM,
        ("process_memory_bytes", "B", "Resident memory of the process."),
    ),
    gauge(
        System,
        OF_SYSTEM,
        ("disk_free_bytes", "B", "Free space where the process keeps its data."),
    ),
    gauge(
        System,
        OF_SYSTEM,
        ("metric_queue_depth", "points", "Points that wait to be written."),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "projection_lag_events",
            "events",
            "Events that the read models of the process' shards are behind the log.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        ("dropped_points", "points", "Points that were dropped."),
    ),
];

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write;

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
