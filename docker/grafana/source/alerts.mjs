// The alert rules. All ask InfluxDB alone; each has a section of docs/runbook.md, named as its uid without "grid-".
import { rows, rowsOfBoth } from "./flux.mjs";
import { LIMITS } from "./limits.mjs";
import { alerting, YAML } from "./modules.mjs";
import { BOARDS, GRID, IN_GRID, INFLUX } from "./panels.mjs";
import { DROPS, LAGS, RESTARTS } from "./parts.mjs";

const EXPRESSION = "__expr__";
const RANGE = "start: v.timeRangeStart, stop: v.timeRangeStop";
const text = (lines) => lines.join("\n");
// Below, time(v: …) is no ornament: a map whose columns are all constants gives no rows in InfluxDB 2.7.

/** The newest value of each series. */
const newestOf = (field, by) =>
  text([
    ...rows(RANGE, [field]),
    "  |> last()",
    `  |> group(columns: [${by.map((name) => `"${name}"`).join(", ")}])`,
    '  |> keep(columns: ["_time", "_value", ' + by.map((name) => `"${name}"`).join(", ") + "])",
  ]);

/** Seconds since each worker was heard of. */
const silence = text([
  ...rows(RANGE, ["worker_running"]),
  "  |> last()",
  '  |> group(columns: ["worker_id"])',
  "  |> map(fn: (r) => ({",
  "    worker_id: r.worker_id,",
  "    _time: time(v: v.timeRangeStop),",
  "    _value: float(v: int(v: v.timeRangeStop) - int(v: r._time)) / 1000000000.0,",
  "  }))",
]);

/** Of the tasks that ended lately or stand as failed, the share that failed; 0 while they are few. */
const failures = text([
  ...rows(RANGE, ["tasks_failed", "tasks_completed"]),
  "  |> last()",
  "  |> group()",
  "  |> reduce(",
  "    identity: {failed: 0.0, completed: 0.0},",
  "    fn: (r, accumulator) => ({",
  '      failed: if r._field == "tasks_failed" then accumulator.failed + r._value else accumulator.failed,',
  '      completed: if r._field == "tasks_completed" then accumulator.completed + r._value else accumulator.completed,',
  "    }),",
  "  )",
  "  |> map(fn: (r) => ({",
  "    _time: time(v: v.timeRangeStop),",
  "    _value: if r.failed + r.completed >= 20.0 then r.failed / (r.failed + r.completed) else 0.0,",
  "  }))",
]);

/** Seconds for which a running task has neither read, written, logged nor computed; 0 of those that have. */
const standstill = text([
  ...rows(RANGE, ["duration_seconds", "input_events", "output_events", "log_lines", "cpu_seconds"]),
  '  |> group(columns: ["job_id", "task_id"])',
  "  |> reduce(",
  "    identity: {progress: 0.0, longest: 0.0, newest: 0},",
  "    fn: (r, accumulator) => ({",
  '      progress: if r._field == "duration_seconds" then accumulator.progress else accumulator.progress + r._value,',
  '      longest: if r._field == "duration_seconds" and r._value > accumulator.longest then r._value else accumulator.longest,',
  "      newest: if int(v: r._time) > accumulator.newest then int(v: r._time) else accumulator.newest,",
  "    }),",
  "  )",
  "  |> map(fn: (r) => ({",
  "    job_id: r.job_id,",
  "    task_id: r.task_id,",
  "    _time: time(v: v.timeRangeStop),",
  "    _value: if r.progress < 0.5 and int(v: v.timeRangeStop) - r.newest < 120000000000 then r.longest else 0.0,",
  "  }))",
]);

/** Tasks that wait for a worker while no slot is free; 0 while one is. */
const waiting = text([
  ...rowsOfBoth(RANGE, ["tasks_ready"], ["worker_capacity", "worker_running"]),
  "  |> last()",
  // reduce gives nothing for rows that lack each other's tags.
  '  |> keep(columns: ["_field", "_value"])',
  "  |> group()",
  "  |> reduce(",
  "    identity: {ready: 0.0, free: 0.0},",
  "    fn: (r, accumulator) => ({",
  '      ready: if r._field == "tasks_ready" then accumulator.ready + r._value else accumulator.ready,',
  '      free: if r._field == "worker_capacity" then accumulator.free + r._value',
  '        else if r._field == "worker_running" then accumulator.free - r._value',
  "        else accumulator.free,",
  "    }),",
  "  )",
  "  |> map(fn: (r) => ({_time: time(v: v.timeRangeStop), _value: if r.free <= 0.0 then r.ready else 0.0}))",
]);

const retrying = text([
  ...rows(RANGE, ["tasks_retrying"]),
  "  |> last()",
  "  |> group()",
  "  |> sum()",
  "  |> map(fn: (r) => ({_time: time(v: v.timeRangeStop), _value: r._value}))",
]);

/** The highest of the newest values of fields of one process. */
const highestOf = (fields) =>
  text([
    ...rows(RANGE, fields),
    "  |> last()",
    '  |> group(columns: ["component", "process"])',
    "  |> max()",
    '  |> keep(columns: ["_time", "_value", "component", "process"])',
  ]);

/** What was added to fields of one process. */
const addedTo = (fields) =>
  text([
    ...rows(RANGE, fields),
    '  |> group(columns: ["component", "process"])',
    "  |> sum()",
    "  |> map(fn: (r) => ({r with _time: time(v: v.timeRangeStop)}))",
  ]);

/**
 * Every rule. `back`: seconds that the query looks back; `panel`: title of the panel that shows what it is about, with
 * variables `given` from labels (name to label); `inGrid`: what Grid itself says of it.
 */
export const RULES = [
  {
    name: "silent-worker",
    title: "A worker is silent",
    query: silence,
    back: 3600,
    above: LIMITS.silence,
    pending: "1m",
    severity: "page",
    board: "cluster",
    panel: "Running, by worker",
    about: "Its process, its machine or its way to InfluxDB is gone. Its tasks go to other workers.",
    given: { worker: "worker_id" },
    inGrid: IN_GRID.worker("{{ $labels.worker_id }}"),
    summary: "{{ $labels.worker_id }} has not reported for {{ humanizeDuration $values.B.Value }}",
  },
  {
    name: "no-capacity",
    title: "No worker has room",
    query: waiting,
    back: 150,
    above: 0,
    pending: "10m",
    severity: "page",
    board: "cluster",
    panel: "Running and capacity",
    about: "Tasks wait, and no worker has a free slot, or there is no worker.",
    inGrid: IN_GRID.workers,
    summary: "{{ humanize $values.B.Value }} tasks wait, and no worker has a free slot",
  },
  {
    name: "failure-rate",
    title: "Many tasks fail",
    query: failures,
    back: 900,
    above: LIMITS.failures,
    pending: "5m",
    severity: "page",
    board: "cluster",
    panel: "Failed tasks of unfinished jobs",
    about: "Of at least 20 tasks that ended lately or stand as failed, too many failed.",
    summary: "{{ humanizePercentage $values.B.Value }} of the tasks of the last 15 minutes' jobs failed",
  },
  {
    name: "retry-storm",
    title: "Many tasks wait for their retry",
    query: retrying,
    back: 150,
    above: LIMITS.retrying,
    pending: "10m",
    severity: "notify",
    board: "cluster",
    panel: "Tasks that wait for their retry",
    about: "Something that many tasks need is away. They are tried again as long as their retries last.",
    summary: "{{ humanize $values.B.Value }} tasks wait for their retry",
  },
  {
    name: "stuck-task",
    title: "A task stands still",
    query: standstill,
    back: 900,
    above: LIMITS.standstill,
    pending: "1m",
    severity: "notify",
    board: "task",
    panel: "Throughput",
    about: "It read, wrote and logged nothing, and used less than half a second of CPU.",
    given: { job: "job_id", task: "task_id" },
    inGrid: IN_GRID.task("{{ $labels.task_id }}"),
    summary: "{{ $labels.task_id }} runs, and has done nothing for 15 minutes",
  },
  {
    name: "lag",
    title: "A process is behind",
    query: highestOf(LAGS),
    back: 150,
    above: LIMITS.lag,
    pending: "5m",
    severity: "notify",
    board: "system",
    panel: "Behind",
    about: "What lists and counters say is old, or commands and reports wait. Nothing is lost.",
    given: { process: "process" },
    inGrid: IN_GRID.health,
    summary: "{{ $labels.component }} {{ $labels.process }} is {{ humanize $values.B.Value }} events or messages behind",
  },
  {
    name: "drops",
    title: "Points or lines are dropped",
    query: addedTo(DROPS),
    back: 600,
    above: 0,
    pending: "0s",
    severity: "notify",
    board: "system",
    panel: "Dropped",
    about: "Where they should go did not take them, and the room for them is used up. Tasks are not affected.",
    given: { process: "process" },
    summary: "{{ $labels.component }} {{ $labels.process }} dropped {{ humanize $values.B.Value }} points or lines in 10 minutes",
  },
  {
    name: "restarts",
    title: "Parts of a process are begun anew",
    query: addedTo(RESTARTS),
    back: 600,
    above: LIMITS.restarts,
    pending: "0s",
    severity: "notify",
    board: "system",
    panel: "Begun anew",
    about: "Shards, the journal, the projector, Postgres, workers or guardians ended. Each heals by itself; many do not.",
    given: { process: "process" },
    inGrid: IN_GRID.health,
    summary: "{{ $labels.component }} {{ $labels.process }} began {{ humanize $values.B.Value }} parts anew in 10 minutes",
  },
  {
    name: "slow-commits",
    title: "Commits are slow",
    query: newestOf("commit_latency_p99_seconds", ["component", "process"]),
    back: 150,
    above: LIMITS.commits,
    pending: "5m",
    severity: "notify",
    board: "system",
    panel: "Commits",
    about: "One of a hundred commits takes too long. Everything that changes a job waits that long.",
    given: { process: "process" },
    summary: "Commits of {{ $labels.process }} take up to {{ humanizeDuration $values.B.Value }}",
  },
  {
    name: "disk",
    title: "The disk is nearly full",
    query: newestOf("disk_free_bytes", ["component", "process"]),
    back: 600,
    below: LIMITS.disk,
    // Every process says how much it has left: without points, nothing of Grid reports at all.
    noData: "NoData",
    pending: "5m",
    severity: "page",
    board: "system",
    panel: "Free disk",
    about: "The disk on which the process keeps its data is nearly full. Without data: nothing of Grid reports.",
    given: { process: "process" },
    summary: "{{ $labels.component }} {{ $labels.process }} has {{ humanize1024 $values.B.Value }}B left",
  },
];

const built = (value) => ({ build: () => value });
const asked = (back) => ({ from: back, to: 0 });

function query(refId, datasourceUid, model, back) {
  return new alerting.QueryBuilder(refId)
    .datasourceUid(datasourceUid)
    .relativeTimeRange(asked(back))
    .model(built({ refId, ...model }));
}

/** The dashboard as somebody who is told of the alert opens it. `externalURL` of Grafana ends with a slash. */
function dashboardOf({ board, given = {} }) {
  const values = Object.entries(given).map(([variable, label]) => `var-${variable}={{ $labels.${label} }}`);
  return `{{ externalURL }}d/${BOARDS[board].uid}${values.length > 0 ? "?" : ""}${values.join("&")}`;
}

function annotations(one, panelId) {
  const { name, summary, about, board, panel, inGrid } = one;
  return {
    summary,
    description: about,
    runbook_url: `${GRID}${IN_GRID.runbook(name)}`,
    dashboard_url: dashboardOf(one),
    ...(inGrid && { grid_url: `${GRID}${inGrid}` }),
    __dashboardUid__: BOARDS[board].uid,
    __panelId__: String(panelId(BOARDS[board].uid, panel)),
  };
}

function rule(one, panelId) {
  const { name, title, query: flux, back, above, below, pending, severity, noData = "OK" } = one;
  const evaluator = above === undefined ? { type: "lt", params: [below] } : { type: "gt", params: [above] };
  const datasource = { type: EXPRESSION, uid: EXPRESSION };
  const made = new alerting.RuleBuilder(title)
    .uid(`grid-${name}`)
    .condition("C")
    .withQuery(query("A", INFLUX.uid, { datasource: INFLUX, query: flux, intervalMs: 10000, maxDataPoints: 1000 }, back))
    .withQuery(query("B", EXPRESSION, { datasource, type: "reduce", expression: "A", reducer: "last" }, back))
    .withQuery(
      query("C", EXPRESSION, { datasource, type: "threshold", expression: "B", conditions: [{ evaluator }] }, back),
    )
    .noDataState(noData)
    .execErrState("Error")
    .forDuration(pending)
    .labels({ service: "grid", severity })
    .annotations(annotations(one, panelId))
    .build();
  // What only the API of Grafana has.
  const { folderUID: _folder, ruleGroup: _group, orgID: _org, ...inFile } = made;
  return inFile;
}

/** The file of all rules; `panelId` gives the number of a panel by its dashboard's uid and its title. */
export function ruleFile(panelId) {
  const group = {
    orgId: 1,
    name: "grid",
    folder: "Grid",
    interval: "1m",
    rules: RULES.map((one) => rule(one, panelId)),
  };
  const head = "# Made by docker/grafana/source (scripts/grafana.sh write). Thresholds are those of alerts.mjs.\n";
  return head + YAML.stringify({ apiVersion: 1, groups: [group] }, { lineWidth: 0, aliasDuplicateObjects: false });
}
