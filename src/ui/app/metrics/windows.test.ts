import assert from "node:assert/strict";
import { test } from "node:test";
import { column, intervalFor, lines, merged, rises, total, windows } from "./windows.ts";

const at = (second: number) => new Date(1_000 * second).toISOString();
const point = (second: number, value: number, metric = "m", tags: unknown = { job_id: "a" }) => ({ timestamp: at(second), metric, value, tags });
const line = (...values: [second: number, value: number][]) => ({ metric: "m", group: "a", values: new Map(values.map(([at, value]) => [1_000 * at, value])) });

test("windows are short enough to show something, and no shorter than what is measured", () => {
  const minute = 60_000;
  assert.equal(intervalFor(8_000), 1_000);
  assert.equal(intervalFor(5 * minute), 10_000);
  assert.equal(intervalFor(60 * minute), 30_000);
  assert.equal(intervalFor(7 * 1_440 * minute), 7_200_000);
  for (const length of [1, 10_000, minute, 1e9, 1e12]) assert.ok(length / intervalFor(length) <= 150 || length > 86_400_000 * 150);
});

test("a point that comes again takes the place of the earlier one", () => {
  const known = [point(10, 1), point(20, 2), point(20, 9, "n"), point(20, 7, "m", { job_id: "b" })];
  const now = merged(known, [point(20, 3), point(30, 4)]);
  assert.deepEqual(
    now.map(({ metric, value }) => [metric, value]),
    [["m", 1], ["n", 9], ["m", 7], ["m", 3], ["m", 4]],
  );
  assert.equal(merged(known, []), known);
});

test("lines are kept apart by what they are grouped by, and summed by time", () => {
  const found = lines([point(10, 1), point(10, 5, "m", { job_id: "b" }), point(20, 2)], "job_id");
  assert.deepEqual(found.map(({ group }) => group), ["a", "b"]);
  assert.deepEqual([...total(found)], [[10_000, 6], [20_000, 2]]);
});

test("a window that is not over is left out where it would be too small", () => {
  const span = { from: 5_000, to: null, interval: 10_000 };
  assert.deepEqual(windows(span, 38_000, false), [0, 10_000, 20_000, 30_000]);
  assert.deepEqual(windows(span, 38_000, true), [0, 10_000, 20_000]);
  assert.deepEqual(windows({ ...span, to: 20_000 }, 1e9, true), [0, 10_000, 20_000]);
});

test("a line goes on over a short gap, and not over a long one", () => {
  const times = [0, 10, 20, 30, 40, 50, 60].map((it) => 1_000 * it);
  const { values } = line([0, 1], [20, 2], [60, 3]);
  assert.deepEqual(column(values, times, 10_000, 0), [1, undefined, 2, null, null, null, 3]);
  assert.deepEqual(column(values, times, 10_000, 40_000), [1, undefined, 2, undefined, undefined, undefined, 3]);
});

test("what has risen is counted from nothing for what begins within the time, and never falls", () => {
  const span = { from: 0, to: null, interval: 10_000 };
  const risen = (...values: [number, number][]) => [...rises(line(...values), span).values.values()];
  // It was there before: what it had done already does not count.
  assert.deepEqual(risen([0, 500], [10, 520], [20, 520]), [0, 2, 0]);
  assert.deepEqual(risen([40, 30], [50, 50]), [3, 2]);
  // Failed tasks that are tried again are fewer.
  assert.deepEqual(risen([40, 20], [50, 10], [60, 30]), [2, 0, 2]);
});
