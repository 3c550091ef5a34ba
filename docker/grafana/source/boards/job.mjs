// How far is a job, how fast does it go, and what fails in it?
import { added, gauge, newest, perThing, rate, sum, tagValues } from "../flux.mjs";
import { board, IN_GRID, logs, number, row, series, table, tagVariable, to, toGrid } from "../panels.mjs";

const tags = { job_id: "job" };
const name = "${__field.labels._field}";
const STATES = ["tasks_ready", "tasks_scheduled", "tasks_running", "tasks_completed", "tasks_failed"];

const state = (field, title, steps) => number({ title, queries: newest([field], { tags }), steps });

export default () =>
  board("job", {
    description: "One job: the states of its tasks, throughput, errors, and its log.",
    variables: [tagVariable("job", tagValues("job_id", "processing_seconds"), { label: "Job" })],
    passes: ["job"],
    links: [toGrid("This job", IN_GRID.job("${job}")), toGrid("Its lines", IN_GRID.linesOf("${job}"))],
    content: [
      row("Tasks"),
      state("tasks_ready", "Ready"),
      state("tasks_scheduled", "Scheduled"),
      state("tasks_running", "Running"),
      state("tasks_completed", "Completed"),
      state("tasks_failed", "Failed", [1, 10]),
      number({
        title: "Total processing time",
        queries: newest(["processing_seconds"], { tags }),
        unit: "s",
        noValue: "-",
      }),
      series({
        title: "Task states",
        queries: gauge(STATES, { tags, by: [], fn: "last" }),
        name,
        stacked: true,
      }),
      series({
        title: "Tasks completed by second",
        queries: gauge(["job_throughput"], { tags, by: [] }),
        name,
        unit: "suffix: tasks/s",
      }),
      row("Records"),
      number({ title: "Records read", queries: sum(["input_events"], { tags }), unit: "short" }),
      number({ title: "Records written", queries: sum(["output_events"], { tags }), unit: "short" }),
      number({ title: "Bytes read", queries: sum(["input_bytes"], { tags }), unit: "bytes" }),
      number({ title: "Bytes written", queries: sum(["output_bytes"], { tags }), unit: "bytes" }),
      number({ title: "Records that failed", queries: sum(["errors"], { tags }), unit: "short", steps: [1, 1000] }),
      number({ title: "Dead letters", queries: sum(["dead_letters"], { tags }), unit: "short", steps: [1, 1000] }),
      series({
        title: "Throughput",
        queries: rate(["input_events", "output_events"], { tags }),
        name,
        unit: "suffix: events/s",
      }),
      series({
        title: "Error rate",
        queries: rate(["errors", "dead_letters"], { tags }),
        name,
        unit: "suffix: events/s",
      }),
      series({ title: "Bytes by second", queries: rate(["input_bytes", "output_bytes"], { tags }), name, unit: "binBps" }),
      series({ title: "Lines of log", queries: added(["log_lines"], { tags }), name, unit: "short" }),
      row("By task"),
      table({
        title: "Tasks",
        description: "Those that were measured: shorter ones that counted nothing leave no point.",
        queries: perThing(
          ["input_events", "output_events", "errors", "dead_letters", "log_lines", "cpu_seconds", "duration_seconds"],
          { tags, by: ["task_id", "worker_id"] },
        ),
        columns: {
          task_id: {
            links: [
              to("task", { job: "${job}", task: "${__value.raw}" }),
              toGrid("Task in Grid", IN_GRID.task("${__value.raw}")),
            ],
          },
          cpu_seconds: "s",
          duration_seconds: "s",
        },
      }),
      logs({
        title: "Warnings and errors",
        description: "Lines of the job's tasks of the levels WARN, ERROR and FATAL, the newest first.",
        expr: 'job_id:="${job}" AND level:in("WARN","ERROR","FATAL")',
      }),
      logs({ title: "Log", description: "All lines of the job's tasks, the newest first.", expr: 'job_id:="${job}"' }),
    ],
  });
