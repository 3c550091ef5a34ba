import assert from "node:assert/strict";
import { test } from "node:test";
import { moments, placeOf } from "./moments.ts";

const second = (it: number) => `2026-01-01T00:00:0${it}.000Z`;

const attempts = [
  { attempt: 1, workerId: "w", scheduledAt: second(1), startedAt: second(2), finishedAt: second(3), failure: { reason: "ERROR" } },
  { attempt: 2, workerId: "w", scheduledAt: second(4), startedAt: null, finishedAt: second(5), failure: { reason: "HANDED_BACK" } },
  { attempt: 3, workerId: "w", scheduledAt: second(5), startedAt: second(6), finishedAt: second(7), failure: null },
];
const known = (totalCount: number) => ({
  job: { events: { nodes: [{ type: "JobFinished", at: second(7) }, { type: "FanOutAdvanced", at: second(0) }, { type: "JobSubmitted", at: second(0) }] } },
  tasks: { totalCount, nodes: [{ taskId: "task", externalId: "a", state: "COMPLETED", nextRetryAt: null, attempts }] },
});

test("what happened to a job and its tasks is told in its order, at one time by the worst of it", () => {
  const all = moments(known(1), Date.parse(second(9)));
  assert.deepEqual(
    all.map(({ at, text, more }) => [at, text, more]),
    [
      [second(0), "The job is submitted", 0],
      [second(1), "a is given to a worker", 0],
      [second(2), "a begins", 0],
      [second(3), "a fails: ERROR", 0],
      [second(4), "a (attempt 2) is given to a worker", 0],
      [second(5), "a (attempt 3) is given to a worker", 1],
      [second(6), "a (attempt 3) begins", 0],
      [second(7), "The job is finished", 1],
    ],
  );
  assert.equal(placeOf(all, second(3)), 3);
  assert.equal(placeOf(all, "2026-01-01T00:00:03.5Z"), 3);
  assert.equal(placeOf(all, second(9)), 7);
  assert.equal(placeOf(all, "2025-12-31T00:00:00Z"), -1);
});

test("of a large job, of whose tasks not all are known, times between are moments too", () => {
  const all = moments(known(1_000), Date.parse(second(9)));
  assert.ok(all.length > 100);
  assert.equal(all.at(-1)?.at, second(9));
  assert.equal(all.filter(({ text }) => text === "a fails: ERROR").length, 1);
});
