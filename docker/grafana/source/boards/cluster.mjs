// Are the workers well, how full are they, where are the tasks?
import { gauge, now, perThing, share, tagValues, total } from "../flux.mjs";
import { LIMITS } from "../limits.mjs";
import { board, IN_GRID, logs, number, row, series, table, tagVariable, to, toGrid } from "../panels.mjs";

const tags = { worker_id: "worker" };
// Longer than workers that idle are silent, so that no window lacks one.
const minInterval = "2m";

export default () =>
  board("cluster", {
    description: "Workers' health, their capacity, and where the tasks are.",
    variables: [tagVariable("worker", tagValues("worker_id", "worker_running"), { all: true, label: "Worker" })],
    links: [toGrid("Workers", IN_GRID.workers)],
    content: [
      row("Now"),
      number({
        title: "Workers that report",
        description: "Within the last two and a half minutes.",
        queries: now(["worker_running"], { fn: "count" }),
        width: 3,
        least: [1, 1],
      }),
      number({ title: "Capacity", queries: now(["worker_capacity"]), width: 3 }),
      number({ title: "Running on workers", queries: now(["worker_running"]), width: 3 }),
      number({
        title: "Capacity in use",
        queries: share("worker_running", "worker_capacity"),
        unit: "percentunit",
        noValue: "-",
        width: 3,
        steps: [0.8, 0.95],
      }),
      number({ title: "Tasks that wait for a worker", queries: now(["tasks_ready"]) }),
      number({
        title: "Failed tasks of unfinished jobs",
        description: "Those that wait for their retry are among them.",
        queries: now(["tasks_failed"]),
        steps: [1, 100],
      }),
      number({
        title: "Tasks that wait for their retry",
        queries: now(["tasks_retrying"]),
        steps: [1, LIMITS.retrying],
      }),
      row("Capacity"),
      series({
        title: "Running and capacity",
        queries: total(["worker_running", "worker_capacity"]),
        name: "${__field.labels._field}",
        minInterval,
      }),
      series({
        title: "Task distribution",
        description: "Tasks of unfinished jobs by their state.",
        queries: total(["tasks_ready", "tasks_scheduled", "tasks_running"]),
        name: "${__field.labels._field}",
        stacked: true,
        minInterval: "1m",
      }),
      row("Workers"),
      series({
        title: "Running, by worker",
        queries: gauge(["worker_running"], { tags, by: ["worker_id"] }),
        name: "${__field.labels.worker_id}",
        stacked: true,
        minInterval,
      }),
      series({
        title: "Waiting in the worker for a slot",
        queries: gauge(["worker_queued"], { tags, by: ["worker_id"] }),
        name: "${__field.labels.worker_id}",
        minInterval,
      }),
      series({
        title: "CPU, by worker",
        queries: gauge(["worker_cpu_cores"], { tags, by: ["worker_id"] }),
        name: "${__field.labels.worker_id}",
        unit: "suffix: cores",
        minInterval,
      }),
      series({
        title: "Memory, by worker",
        queries: gauge(["worker_memory_bytes"], { tags, by: ["worker_id"] }),
        name: "${__field.labels.worker_id}",
        unit: "bytes",
        minInterval,
      }),
      table({
        title: "Workers",
        queries: perThing(["worker_running", "worker_capacity", "worker_queued", "worker_cpu_cores", "worker_memory_bytes"], {
          tags,
          by: ["worker_id"],
        }),
        columns: {
          worker_id: { links: [toGrid("Worker in Grid", IN_GRID.worker("${__value.raw}"))] },
          worker_memory_bytes: "bytes",
          worker_cpu_cores: "suffix: cores",
        },
      }),
      row("Jobs"),
      table({
        title: "Jobs",
        queries: perThing(
          [
            "tasks_ready",
            "tasks_scheduled",
            "tasks_running",
            "tasks_completed",
            "tasks_failed",
            "tasks_retrying",
            "processing_seconds",
          ],
          { by: ["job_id"] },
        ),
        columns: {
          job_id: {
            links: [to("job", { job: "${__value.raw}" }), toGrid("Job in Grid", IN_GRID.job("${__value.raw}"))],
          },
          processing_seconds: "s",
        },
      }),
      logs({
        title: "Warnings and errors of all tasks",
        description: "Lines of the levels WARN, ERROR and FATAL, the newest first.",
        expr: 'level:in("WARN","ERROR","FATAL")',
      }),
    ],
  });
