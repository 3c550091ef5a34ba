// Jobs to have something to follow.
import assert from "node:assert/strict";
import { url } from "./modules.mjs";

/** Submits a job of no-op tasks; gives the answer: the job object and its position. */
export async function submit(replicas = 3) {
  const answer = await fetch(`${url}/api/v1/jobs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ tasks: [{ externalId: "noop", replicas, executor: "noop" }] }),
  });
  assert.equal(answer.status, 201);
  return answer.json();
}

export async function kill(jobId) {
  const answer = await fetch(`${url}/api/v1/jobs/kill/${jobId}`, { method: "DELETE" });
  assert.equal(answer.status, 200);
  return answer.json();
}
