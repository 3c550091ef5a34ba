// Fields of system_metrics that panels and rules look at together.

/** How far a process is behind, in events and messages. */
export const LAGS = ["bus_lag_messages", "projection_lag_events", "publish_lag_events"];

/** What waits, by count. */
export const QUEUES = [
  "metric_queue_depth",
  "bus_queue_messages",
  "journal_queue_batches",
  "projection_queue_events",
  "commands_unanswered",
];

/** What waits, by size. */
export const QUEUED_BYTES = ["publish_queue_bytes", "log_queue_bytes", "metric_spill_bytes"];

export const DROPS = ["dropped_points", "dropped_lines"];

/** Parts of a process that ended and were begun anew. */
export const RESTARTS = [
  "shard_restarts",
  "journal_restarts",
  "projector_restarts",
  "postgres_restarts",
  "worker_restarts",
  "guardian_restarts",
];
