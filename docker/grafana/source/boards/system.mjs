// Are Grid's own processes well?
import { added, gauge, now, perThing, tagValues } from "../flux.mjs";
import { board, number, row, series, table, tagVariable, toGrid } from "../panels.mjs";

const tags = { process: "process" };
const by = ["component", "process"];
const name = "${__field.labels.component} ${__field.labels.process}";
// Longer than processes that idle are silent.
const minInterval = "2m";

export default () =>
  board("system", {
    description: "The processes of Grid: CPU, memory, disk, what waits and what was dropped.",
    variables: [tagVariable("process", tagValues("process", "process_memory_bytes"), { all: true, label: "Process" })],
    links: [toGrid("Ready?", "/health/ready")],
    content: [
      row("Now"),
      number({ title: "Processes that report", queries: now(["process_memory_bytes"], { fn: "count" }), width: 6 }),
      number({
        title: "Least free disk",
        queries: now(["disk_free_bytes"], { fn: "min" }),
        unit: "bytes",
        noValue: "-",
        width: 6,
      }),
      number({ title: "Points that wait", queries: now(["metric_queue_depth"]), steps: [10000, 40000], width: 6 }),
      number({ title: "Points dropped lately", queries: now(["dropped_points"]), steps: [1, 1000], width: 6 }),
      row("Resources"),
      series({ title: "CPU", queries: gauge(["process_cpu_cores"], { tags, by }), name, unit: "suffix: cores", minInterval }),
      series({
        title: "Memory",
        queries: gauge(["process_memory_bytes"], { tags, by }),
        name,
        unit: "bytes",
        minInterval,
      }),
      series({
        title: "Free disk",
        queries: gauge(["disk_free_bytes"], { tags, by, fn: "min" }),
        name,
        unit: "bytes",
        minInterval,
      }),
      series({
        title: "Points that wait to be written",
        queries: gauge(["metric_queue_depth"], { tags, by, fn: "max" }),
        name,
        unit: "short",
        minInterval,
      }),
      series({
        title: "Points that were dropped",
        queries: added(["dropped_points"], { tags, by }),
        name,
        unit: "short",
        minInterval,
      }),
      series({
        title: "Events that the read models are behind",
        queries: gauge(["projection_lag_events"], { tags, by, fn: "max" }),
        name,
        unit: "short",
        minInterval,
      }),
      row("Processes"),
      table({
        title: "Processes",
        queries: perThing(
          ["process_cpu_cores", "process_memory_bytes", "disk_free_bytes", "metric_queue_depth", "dropped_points"],
          { tags, by },
        ),
        columns: { process_cpu_cores: "suffix: cores", process_memory_bytes: "bytes", disk_free_bytes: "bytes" },
      }),
    ],
  });
