// Jobs to look at.
import assert from "node:assert/strict";
import { url } from "../modules.mjs";

const shown = (token) => (token ? { authorization: `Bearer ${token}` } : {});

export async function submit(document, token) {
  const answer = await fetch(`${url}/api/v1/jobs`, {
    method: "POST",
    headers: { ...shown(token), "content-type": "application/json" },
    body: JSON.stringify(document),
  });
  const job = await answer.json();
  assert.equal(answer.status, 201, JSON.stringify(job));
  return job;
}

export async function get(path, token) {
  const answer = await fetch(`${url}${path}`, { headers: shown(token) });
  assert.equal(answer.status, 200);
  return answer.json();
}

export async function kill({ jobId }, token) {
  const answer = await fetch(`${url}/api/v1/jobs/kill/${jobId}`, { method: "DELETE", headers: shown(token) });
  assert.equal(answer.status, 200);
}

const RUN = Date.now().toString(36);
/** With a label by which a test finds its own among those of others and of other runs: `list` is the address of them. */
export const labelled = (document, test) => ({ ...document, labels: { test: `${test}-${RUN}` } });
export const list = (test, more = "") => `/jobs?label=test%3D${test}-${RUN}${more}`;

export const quick = (externalId, replicas = 3) => ({ externalId, tasks: [{ externalId: "noop", replicas, executor: "noop" }] });

/** Nothing can run it: it stays until it is killed. */
export const held = (externalId, replicas = 2) => ({
  externalId,
  tasks: [{ externalId: "held", replicas, executor: "noop", requires: { zone: "nowhere" } }],
});

/** Fails at once, and waits for an hour for its retry. */
export const failing = (externalId) => ({
  externalId,
  retry: { maxRetries: 2, baseSeconds: 3600 },
  tasks: [{ externalId: "bad", command: ["sh", "-c", "echo begun; echo last words >&2; exit 3"] }],
});

/** Two replicas of a pipeline that read 200 records a second each, of which every tenth fails, until they are stopped. */
export const flowing = (externalId) => ({
  externalId,
  tasks: [
    {
      externalId: "flow",
      replicas: 2,
      dag: [
        { id: "in", commandName: "generatesource", config: { count: 400_000, rate: 200 }, outputs: ["known"] },
        {
          id: "known",
          commandName: "assertion",
          config: { condition: "mod(to_int!(.index), 10) != 3", message: "no customer" },
          outputs: ["even", "odd"],
        },
        { id: "even", commandName: "filter", config: { condition: "mod(to_int!(.index), 2) == 0" }, outputs: ["out"] },
        { id: "odd", commandName: "filter", config: { condition: "mod(to_int!(.index), 2) == 1" }, outputs: ["out"] },
        { id: "out", commandName: "filesink", config: { path: `${externalId}-\${REPLICA_INDEX}.ndjson`, encoding: "ndjson" }, outputs: [] },
        { id: "dead", commandName: "filesink", config: { path: `${externalId}-dead-\${REPLICA_INDEX}.ndjson`, deadletter: true }, outputs: [] },
      ],
    },
  ],
});

/** Some that run through, and some that fail at first and succeed a second later. */
export const retried = (externalId) => ({
  externalId,
  retry: { maxRetries: 2, baseSeconds: 1, factor: 1 },
  tasks: [
    { externalId: "steady", replicas: 3, command: ["sh", "-c", "sleep 0.3"] },
    { externalId: "flaky", replicas: 2, command: ["sh", "-c", "sleep 0.2; test $GRID_ATTEMPT -gt 1"] },
  ],
});
