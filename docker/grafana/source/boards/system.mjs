// Are Grid's own processes well?
import { added, gauge, highestNow, now, perThing, sum, tagValues } from "../flux.mjs";
import { LIMITS } from "../limits.mjs";
import { board, IN_GRID, number, row, series, table, tagVariable, toGrid } from "../panels.mjs";
import { DROPS, LAGS, QUEUED_BYTES, QUEUES, RESTARTS } from "../parts.mjs";

const tags = { process: "process" };
const by = ["component", "process"];
const name = "${__field.labels.component} ${__field.labels.process}";
const named = "${__field.labels._field} ${__field.labels.process}";
// Longer than processes that idle are silent.
const minInterval = "2m";

export default () =>
  board("system", {
    description: "The processes of Grid: CPU, memory, disk, what waits and what was dropped.",
    variables: [tagVariable("process", tagValues("process", "process_memory_bytes"), { all: true, label: "Process" })],
    links: [toGrid("Ready?", IN_GRID.health)],
    content: [
      row("Now"),
      number({
        title: "Processes that report",
        description: "Within the last two and a half minutes.",
        queries: now(["process_memory_bytes"], { fn: "count" }),
        width: 6,
        least: [1, 1],
      }),
      number({
        title: "Least free disk",
        queries: now(["disk_free_bytes"], { fn: "min" }),
        unit: "bytes",
        noValue: "-",
        width: 6,
        least: [LIMITS.disk, 4 * LIMITS.disk],
      }),
      number({ title: "Furthest behind", queries: highestNow(LAGS), steps: [1000, LIMITS.lag], width: 6 }),
      number({ title: "Dropped in all", queries: sum(DROPS, {}), steps: [1, 1000], width: 6 }),
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
        limit: LIMITS.disk,
        name,
        unit: "bytes",
        minInterval,
      }),
      row("Parts"),
      series({
        title: "Behind",
        queries: gauge(LAGS, { tags, by, fn: "max" }),
        limit: LIMITS.lag,
        name: named,
        unit: "short",
        minInterval,
      }),
      series({
        title: "Commits",
        description: "How long a shard's batch takes until it is in the log: the average, and what 99 of 100 stay under.",
        queries: gauge(["commit_latency_seconds", "commit_latency_p99_seconds"], { tags, by, fn: "max" }),
        limit: LIMITS.commits,
        name: named,
        unit: "s",
        minInterval,
      }),
      series({ title: "Waiting", queries: gauge(QUEUES, { tags, by, fn: "max" }), name: named, unit: "short", minInterval }),
      series({
        title: "Waiting bytes",
        queries: gauge(QUEUED_BYTES, { tags, by, fn: "max" }),
        name: named,
        unit: "bytes",
        minInterval,
      }),
      series({ title: "Dropped", queries: added(DROPS, { tags, by }), name: named, unit: "short", minInterval }),
      series({ title: "Begun anew", queries: added(RESTARTS, { tags, by }), name: named, unit: "short", minInterval }),
      row("Processes"),
      table({
        title: "Processes",
        queries: perThing(
          [
            "uptime_seconds",
            "process_cpu_cores",
            "process_memory_bytes",
            "disk_free_bytes",
            "stopped_shards",
            "panics",
            ...DROPS,
          ],
          { tags, by },
        ),
        columns: {
          uptime_seconds: "s",
          process_cpu_cores: "suffix: cores",
          process_memory_bytes: "bytes",
          disk_free_bytes: "bytes",
        },
      }),
    ],
  });
