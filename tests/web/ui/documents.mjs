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
