// Points by window, as charts need them: one row of times, and for each line a value, or none, at each of them.
import type { DataPoint } from "./query";

/** From when to when, and how long each window is, in milliseconds since 1970; `to` is open while something still runs. */
export interface Span {
  from: number;
  to: number | null;
  interval: number;
}

const SECOND = 1_000;
const STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400];
/** Windows of a chart. */
const MOST = 150;
/** What is measured every ten seconds has gaps in shorter windows: only what is over soon is shown by them. */
const SHORT = 120 * SECOND;

/** How long the windows of so many milliseconds are. */
export function intervalFor(length: number): number {
  const least = Math.max(length / MOST, length > SHORT ? 10 * SECOND : length / 40);
  return SECOND * (STEPS.find((step) => step * SECOND >= least) ?? 86_400);
}

const sameTags = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/** Points with those that came later in the places of the earlier ones. */
export function merged(known: DataPoint[], fresh: readonly DataPoint[]): DataPoint[] {
  if (fresh.length === 0) return known;
  const oldest = fresh.reduce((least, { timestamp }) => (timestamp < least ? timestamp : least), fresh[0]?.timestamp ?? "");
  const replaced = (old: DataPoint) =>
    old.timestamp >= oldest &&
    fresh.some((it) => it.timestamp === old.timestamp && it.metric === old.metric && sameTags(it.tags, old.tags));
  return [...known.filter((old) => !replaced(old)), ...fresh];
}

/** Values of one metric and one value of the tag it is grouped by, by the beginning of their windows. */
export interface Line {
  metric: string;
  group: string;
  values: Map<number, number>;
}

export function lines(points: readonly DataPoint[], groupBy: string): Line[] {
  const found = new Map<string, Line>();
  for (const { metric, tags, timestamp, value } of points) {
    const group = (tags as Record<string, string>)[groupBy] ?? "";
    const key = `${metric} ${group}`;
    const line = found.get(key) ?? { metric, group, values: new Map() };
    found.set(key, line);
    line.values.set(Date.parse(timestamp), value);
  }
  return [...found.values()];
}

/** The sum of lines at each time at which one has a value. */
export function total(of: readonly Line[]): Map<number, number> {
  const sums = new Map<number, number>();
  for (const { values } of of) for (const [at, value] of values) sums.set(at, (sums.get(at) ?? 0) + value);
  return sums;
}

/** The beginnings of the windows of a span that are over, or of all. */
export function windows({ from, to, interval }: Span, now: number, whole: boolean): number[] {
  const first = Math.floor(from / interval) * interval;
  // Points come a moment after they were measured.
  const end = to ?? (whole ? now - 4 * SECOND - interval : now);
  const all: number[] = [];
  for (let at = first; at <= end; at += interval) all.push(at);
  return all;
}

/** `null` where a line has a gap; `undefined` in one up to `bridged`, or two windows, over which the line goes on. */
export function column(
  values: ReadonlyMap<number, number>,
  times: readonly number[],
  interval: number,
  bridged: number,
): (number | null | undefined)[] {
  const most = Math.max(2 * interval, bridged);
  let last = Number.NEGATIVE_INFINITY;
  const result: (number | null | undefined)[] = times.map((at) => values.get(at) ?? null);
  for (const [index, at] of times.entries()) {
    if (result[index] === null) continue;
    if (at - last <= most) for (let back = index - 1; result[back] === null; back -= 1) result[back] = undefined;
    last = at;
  }
  return result;
}

/** How much a number that only rises has risen in each window, by second; what was there before the first window is not counted. */
export function rises(line: Line, { from, interval }: Span): Line {
  const values = new Map<number, number>();
  const times = [...line.values.keys()].toSorted((a, b) => a - b);
  // What begins within the span began with nothing.
  let before = (times[0] ?? 0) > from + 2 * interval ? 0 : line.values.get(times[0] ?? 0) ?? 0;
  for (const at of times) {
    const value = line.values.get(at) ?? 0;
    values.set(at, (Math.max(0, value - before) * SECOND) / interval);
    before = value;
  }
  return { ...line, values };
}
