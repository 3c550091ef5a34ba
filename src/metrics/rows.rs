//! The rows of the one table of metrics (table.rs says what a row is).

use super::table::Measurement::{self, Job, System, Task, Worker};
use super::table::{Aggregation, Kind, Metric};

const OF_TASK: &[&str] = &["job_id", "task_id", "worker_id"];
const OF_NODE: &[&str] = &["job_id", "task_id", "worker_id", "node_id", "command_name"];
const OF_REPORT: &[&str] = &["job_id", "task_id", "worker_id", "name", "dimensions"];
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

const fn high(measurement: Measurement, tags: &'static [&'static str], row: Row) -> Metric {
    Metric {
        right: Aggregation::Max,
        ..gauge(measurement, tags, row)
    }
}

const fn rate(of: &'static str, row: Row) -> Metric {
    Metric {
        kind: Kind::Rate { of },
        ..gauge(Measurement::Task, OF_TASK, row)
    }
}

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
    gauge(
        Task,
        OF_REPORT,
        (
            "reported",
            "as reported",
            "What a program reported itself: its measurement and field are the name, its own tags the dimensions.",
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
    last(
        System,
        OF_SYSTEM,
        (
            "uptime_seconds",
            "s",
            "How long the process has been up; where it falls, the process was begun anew.",
        ),
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
            "metric_spill_bytes",
            "B",
            "Points that wait on disk for the store to answer.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        ("bus_queue_messages", "messages", "Messages that wait to be sent."),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "journal_queue_batches",
            "batches",
            "Batches of shards that wait for the commit under way.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "projection_queue_events",
            "events",
            "Events that wait to be written into the read models.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        ("publish_queue_bytes", "B", "Events that wait to be published."),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "log_queue_bytes",
            "B",
            "Lines of tasks that wait in workers to be handed over.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "commands_unanswered",
            "commands",
            "Commands that wait for their answer.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "bus_lag_messages",
            "messages",
            "Messages between what the process has read of its partitions and their ends.",
        ),
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
    gauge(
        System,
        OF_SYSTEM,
        (
            "publish_lag_events",
            "events",
            "Events that the topic of events is behind the log.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "commit_latency_seconds",
            "s",
            "How long a shard's batch took to its outcome, on the average since the point before.",
        ),
    ),
    high(
        System,
        OF_SYSTEM,
        (
            "commit_latency_p99_seconds",
            "s",
            "What 99 of 100 of them did not exceed: the bound of a bucket.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        ("commits", "batches", "Batches of shards with an outcome."),
    ),
    delta(
        System,
        OF_SYSTEM,
        ("dropped_points", "points", "Points that were dropped."),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "dropped_lines",
            "lines",
            "Lines of tasks that were dropped, once for each place that lacks them.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "lines_over_rate",
            "lines",
            "Lines of tasks that were left out because the task wrote too many.",
        ),
    ),
    gauge(
        System,
        OF_SYSTEM,
        (
            "stopped_shards",
            "shards",
            "Shards that stay closed until somebody acts.",
        ),
    ),
    delta(System, OF_SYSTEM, ("panics", "panics", "Panics, caught or not.")),
    delta(
        System,
        OF_SYSTEM,
        (
            "shard_restarts",
            "restarts",
            "Shards that ended, or could not be opened, and were begun anew.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "journal_restarts",
            "restarts",
            "Journals that died and were begun anew.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "projector_restarts",
            "restarts",
            "Projectors that died and were begun anew.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "postgres_restarts",
            "restarts",
            "Starts of the private Postgres after it ended.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "worker_restarts",
            "restarts",
            "Lives of workers that ended before their process did.",
        ),
    ),
    delta(
        System,
        OF_SYSTEM,
        (
            "guardian_restarts",
            "restarts",
            "Guardians of a worker's processes that were lost and replaced.",
        ),
    ),
];
