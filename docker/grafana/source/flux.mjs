// Flux, made of the table's fields. A name that the table lacks is an error here already.
import { readTable } from "./table.mjs";

const table = readTable();

/** How far back "now" looks: longer than workers and processes that idle are silent (metrics.idle_interval, 60 s). */
const NOW = "150s";

function measurementOf(fields) {
  const found = new Set(
    fields.map((field) => {
      const row = table.get(field);
      if (!row) {
        throw new Error(`docs/metrics.md has no field ${field}`);
      }
      return row.measurement;
    }),
  );
  if (found.size !== 1) {
    throw new Error(`${fields} are of several measurements`);
  }
  return [...found][0];
}

/** What is true of rows of these fields, all of one measurement. */
function are(fields) {
  const one = fields.map((field) => `r._field == "${field}"`).join(" or ");
  return `r._measurement == "${measurementOf(fields)}" and (${one})`;
}

/** Rows of fields of several measurements. */
const rowsOfBoth = (range, fields, others) => [
  "from(bucket: v.defaultBucket)",
  `  |> range(${range})`,
  `  |> filter(fn: (r) => (${are(fields)}) or (${are(others)}))`,
];

/** Rows of these fields, all of one measurement, where a tag has one of a variable's values. */
function rows(range, fields, tags = {}) {
  const lines = [
    "from(bucket: v.defaultBucket)",
    `  |> range(${range})`,
    `  |> filter(fn: (r) => ${are(fields)})`,
  ];
  for (const [tag, variable] of Object.entries(tags)) {
    lines.push(`  |> filter(fn: (r) => r.${tag} =~ /^\${${variable}:regex}$/)`);
  }
  return lines;
}

const WHOLE = "start: v.timeRangeStart, stop: v.timeRangeStop";
const RECENT = `start: date.sub(d: ${NOW}, from: v.timeRangeStop), stop: v.timeRangeStop`;
const columns = (by) => by.map((name) => `"${name}"`).join(", ");
const text = (lines) => lines.join("\n");

/** A gauge over time, one series for each value of `by`. */
export function gauge(fields, { tags, by, fn = "mean" }) {
  return text([
    ...rows(WHOLE, fields, tags),
    `  |> group(columns: [${columns(["_field", ...by])}])`,
    `  |> aggregateWindow(every: v.windowPeriod, fn: ${fn}, createEmpty: false)`,
  ]);
}

/** The sum over all series of the last value that each had in a window. */
export function total(fields, { tags } = {}) {
  return text([
    ...rows(WHOLE, fields, tags),
    "  |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)",
    '  |> group(columns: ["_field", "_time"])',
    "  |> sum()",
    '  |> group(columns: ["_field"])',
  ]);
}

/** What was added, by second. */
export function rate(fields, { tags, by = [] }) {
  return text([
    ...rows(WHOLE, fields, tags),
    `  |> group(columns: [${columns(["_field", ...by])}])`,
    "  |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)",
    "  |> map(fn: (r) => ({r with _value: r._value * 1000000000.0 / float(v: int(v: v.windowPeriod))}))",
  ]);
}

/** What was added in each window. */
export function added(fields, { tags, by = [] }) {
  return text([
    ...rows(WHOLE, fields, tags),
    `  |> group(columns: [${columns(["_field", ...by])}])`,
    "  |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)",
  ]);
}

/** What was added in the whole range: one number for each field. */
export function sum(fields, { tags }) {
  return text([...rows(WHOLE, fields, tags), '  |> group(columns: ["_field"])', "  |> sum()"]);
}

/** The newest value of each field of one thing. */
export function newest(fields, { tags }) {
  return text([
    ...rows(WHOLE, fields, tags),
    '  |> group(columns: ["_field"])',
    '  |> sort(columns: ["_time"])',
    "  |> last()",
    '  |> keep(columns: ["_field", "_time", "_value"])',
  ]);
}

/** The sum over all series of their newest values, as it is now. */
export function now(fields, { tags, fn = "sum" } = {}) {
  return text([
    'import "date"',
    "",
    ...rows(RECENT, fields, tags),
    "  |> last()",
    '  |> group(columns: ["_field"])',
    `  |> ${fn}()`,
  ]);
}

/** The highest newest value of these fields over all series, as it is now. */
export function highestNow(fields) {
  return text(['import "date"', "", ...rows(RECENT, fields), "  |> last()", "  |> group()", "  |> max()"]);
}

/** How much of one field the other is, now, as it is over all series. */
export function share(part, whole) {
  return text([
    'import "date"',
    "",
    ...rows(RECENT, [part, whole]),
    "  |> last()",
    "  |> group()",
    "  |> reduce(",
    "    identity: {part: 0.0, whole: 0.0},",
    "    fn: (r, accumulator) => ({",
    `      part: if r._field == "${part}" then accumulator.part + r._value else accumulator.part,`,
    `      whole: if r._field == "${whole}" then accumulator.whole + r._value else accumulator.whole,`,
    "    }),",
    "  )",
    "  |> map(fn: (r) => ({_value: if r.whole > 0.0 then r.part / r.whole else 0.0}))",
  ]);
}

/** A row for each value of `by`, a column for each field: sums of what was added, the newest of gauges. */
export function perThing(fields, { tags, by }) {
  const added = fields.filter((field) => table.get(field)?.kind.startsWith("added"));
  const states = fields.filter((field) => !added.includes(field));
  const group = `  |> group(columns: [${columns(["_field", ...by])}])`;
  const parts = [];
  if (added.length > 0) {
    parts.push(["counted", text([...rows(WHOLE, added, tags), group, "  |> sum()"])]);
  }
  if (states.length > 0) {
    const last = [...rows(WHOLE, states, tags), group, '  |> sort(columns: ["_time"])', "  |> last()"];
    parts.push(["states", text([...last, `  |> keep(columns: [${columns(["_field", ...by, "_value"])}])`])]);
  }
  const pivot = [
    "  |> group()",
    `  |> pivot(rowKey: [${columns(by)}], columnKey: ["_field"], valueColumn: "_value")`,
  ];
  if (parts.length === 1) {
    return text([parts[0][1], ...pivot]);
  }
  const named = parts.map(([name, query]) => `${name} =\n${query.replace(/^/gm, "  ")}\n`);
  return text([...named, `union(tables: [${parts.map(([name]) => name).join(", ")}])`, ...pivot]);
}

/** Values of a tag, for a variable. */
export function tagValues(tag, field, tags = {}) {
  return text([
    ...rows(WHOLE, [field], tags),
    `  |> keep(columns: ["${tag}"])`,
    "  |> group()",
    `  |> distinct(column: "${tag}")`,
    "  |> sort()",
  ]);
}

export { rows, rowsOfBoth };
