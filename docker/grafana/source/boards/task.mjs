// What did one task do, node by node, and what did it use?
import { gauge, newest, perThing, rate, sum, tagValues } from "../flux.mjs";
import { board, IN_GRID, logs, number, row, series, table, tagVariable, toGrid } from "../panels.mjs";

const tags = { task_id: "task" };
const name = "${__field.labels._field}";

const counted = (field, title, unit = "short", steps) =>
  number({ title, queries: sum([field], { tags }), unit, steps });

export default () =>
  board("task", {
    description: "One task: what it read, wrote and used, by node of its pipeline, and its log.",
    variables: [
      tagVariable("job", tagValues("job_id", "duration_seconds"), { label: "Job" }),
      tagVariable("task", tagValues("task_id", "duration_seconds", { job_id: "job" }), { label: "Task" }),
    ],
    passes: ["job", "task"],
    links: [
      toGrid("This task", IN_GRID.task("${task}")),
      toGrid("Its job", IN_GRID.job("${job}")),
    ],
    content: [
      row("In all"),
      number({
        title: "Duration of the attempt",
        queries: newest(["duration_seconds"], { tags }),
        unit: "s",
        noValue: "-",
      }),
      counted("input_events", "Records read"),
      counted("output_events", "Records written"),
      counted("errors", "Records that failed", "short", [1, 1000]),
      counted("cpu_seconds", "CPU time", "s"),
      counted("log_lines", "Lines of log"),
      row("Over time"),
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
      series({
        title: "Lines of log by second",
        queries: rate(["log_lines"], { tags }),
        name,
        unit: "suffix: lines/s",
      }),
      series({ title: "Processors in use", queries: rate(["cpu_seconds"], { tags }), name, unit: "suffix: cores" }),
      series({ title: "Resident memory", queries: gauge(["rss_bytes"], { tags, by: [] }), name, unit: "bytes" }),
      series({
        title: "What the program reports",
        queries: gauge(["reported"], { tags, by: ["name", "dimensions"] }),
        name: "${__field.labels.name} ${__field.labels.dimensions}",
        unit: "short",
      }),
      row("By node of the pipeline"),
      series({
        title: "Records that nodes took, by second",
        queries: rate(["node_input_events"], { tags, by: ["node_id"] }),
        name: "${__field.labels.node_id}",
        unit: "suffix: events/s",
      }),
      series({
        title: "Records that nodes gave, by second",
        queries: rate(["node_output_events"], { tags, by: ["node_id"] }),
        name: "${__field.labels.node_id}",
        unit: "suffix: events/s",
      }),
      table({
        title: "Nodes",
        queries: perThing(
          ["node_input_events", "node_output_events", "node_errors", "node_input_bytes", "node_output_bytes"],
          { tags, by: ["node_id", "command_name"] },
        ),
        columns: { node_input_bytes: "bytes", node_output_bytes: "bytes" },
      }),
      logs({
        title: "Log",
        description: "All lines of the task, of every attempt, the newest first.",
        expr: 'task_id:="${task}"',
        height: 14,
      }),
    ],
  });
