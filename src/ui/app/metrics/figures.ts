// Which charts a job, a task and a worker have, and of which metrics (docs/metrics.md).
import type { Hue } from "./hues";
import type { Unit } from "./units";

export interface Figure {
  title: string;
  unit: Unit;
  note?: string;
  /** Each with the name and the colour of its line. */
  metrics: Record<string, readonly [string, Hue]>;
  /** Values of windows that are not over are too small. */
  whole: boolean;
}

const RECORDS: readonly Figure[] = [
  {
    title: "Records",
    unit: "rate",
    metrics: { task_throughput: ["read", "blue"], output_rate: ["written", "green"] },
    whole: true,
  },
  { title: "Records that failed", unit: "rate", metrics: { error_rate: ["failed", "red"] }, whole: true },
  {
    title: "Bytes",
    unit: "byteRate",
    metrics: { input_byte_rate: ["read", "blue"], output_byte_rate: ["written", "green"] },
    whole: true,
  },
];

const PROGRAMS: readonly Figure[] = [
  { title: "Processors in use", unit: "cores", metrics: { cpu_cores_used: ["cores", "accent"] }, whole: true },
  { title: "Lines written", unit: "rate", metrics: { log_line_rate: ["lines", "gray"] }, whole: true },
];

const memory = (note?: string): Figure => ({
  title: "Memory",
  unit: "bytes",
  metrics: { rss_bytes: ["resident", "accent"] },
  whole: false,
  ...(note !== undefined && { note }),
});

export const OF_JOB: readonly Figure[] = [
  {
    title: "Tasks by state",
    unit: "count",
    metrics: {
      tasks_running: ["running", "blue"],
      tasks_completed: ["completed", "green"],
      tasks_failed: ["failed", "red"],
      tasks_scheduled: ["scheduled", "orange"],
      tasks_ready: ["ready", "gray"],
    },
    whole: false,
  },
  { title: "Tasks completed", unit: "rate", metrics: { job_throughput: ["completed", "green"] }, whole: false },
  ...RECORDS,
  ...PROGRAMS,
  memory("of a task, mean"),
];

export const OF_TASK: readonly Figure[] = [...RECORDS, ...PROGRAMS, memory()];

export const OF_WORKER: readonly Figure[] = [
  {
    title: "Slots",
    unit: "count",
    metrics: { worker_running: ["taken", "blue"], worker_capacity: ["there", "gray"], worker_queued: ["waiting for one", "orange"] },
    whole: false,
  },
  { title: "Processors in use", unit: "cores", metrics: { worker_cpu_cores: ["cores", "accent"] }, whole: false },
  { title: "Memory", unit: "bytes", metrics: { worker_memory_bytes: ["resident", "accent"] }, whole: false },
  ...RECORDS,
];
