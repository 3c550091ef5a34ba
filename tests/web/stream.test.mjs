// GraphQL as events of the server: the reference client, and by hand.
import assert from "node:assert/strict";
import { test } from "node:test";
import { kill, submit } from "./jobs.mjs";
import { load, url } from "./modules.mjs";

const { createClient } = load("graphql-sse");
const address = `${url}/graphql/stream`;

const post = (body, headers = {}) =>
  fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", ...headers },
    body: JSON.stringify(body),
  });

test("the client asks a query", async () => {
  const it = createClient({ url: address, retryAttempts: 0 });
  const answers = [];
  for await (const answer of it.iterate({ query: "{ __typename }" })) answers.push(answer);
  assert.deepEqual(answers, [{ data: { __typename: "Query" } }]);
  it.dispose();
});

test("the client follows the events of a job, and goes on after any of them", async () => {
  const job = await submit(3);
  const it = createClient({ url: address, retryAttempts: 0 });
  const query = `subscription ($id: ID!, $after: String, $fromStart: Boolean! = false) {
    events(filter: { jobId: $id }, after: $after, fromStart: $fromStart) { event { type streamVersion taskId } position } }`;
  const follow = (variables) => it.iterate({ query, variables: { id: job.jobId, ...variables } });
  const all = [];
  const key = ({ type, streamVersion, taskId }) => `${taskId ?? "job"} ${streamVersion} ${type}`;
  const live = follow({ fromStart: true });
  // Live while it is being killed.
  const killing = kill(job.jobId);
  for await (const { data, errors } of live) {
    assert.equal(errors, undefined, JSON.stringify(errors));
    const { event, position } = data.events;
    all.push({ key: key(event), position });
    if (event.type === "JobFinished") break;
  }
  await killing;
  const keys = all.map((item) => item.key);
  assert.equal(new Set(keys).size, keys.length, "none twice");
  assert.ok(keys[0].endsWith("JobSubmitted"));
  for (const [index, { position }] of all.entries()) {
    const rest = [];
    if (index + 1 < all.length) {
      for await (const { data } of follow({ after: position })) {
        rest.push(key(data.events.event));
        if (rest.at(-1).endsWith("JobFinished")) break;
      }
    }
    assert.deepEqual(rest, keys.slice(index + 1), `after ${keys[index]}`);
  }
  it.dispose();
});

test("what is wrong with a document is told in the stream", async () => {
  const answer = await post({ query: "{ nothing }" });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
  const text = await answer.text();
  assert.match(text, /^:\n\nevent: next\ndata: .*INVALID_QUERY.*\n\nevent: complete\ndata:\n\n$/);
});

test("what is no request is a problem", async () => {
  for (const [body, headers, status] of [
    [{ query: 1 }, {}, 400],
    [{ query: "{ __typename }", more: 1 }, {}, 400],
    [{ query: "{ __typename }" }, { "content-type": "text/plain" }, 415],
    [{ query: "{ __typename }" }, { accept: "application/json" }, 406],
  ]) {
    const answer = await post(body, headers);
    assert.equal(answer.status, status, JSON.stringify([body, headers]));
    assert.match(answer.headers.get("content-type"), /^application\/problem\+json/);
  }
  const mutation = encodeURIComponent('mutation { killJob(id: "x") { position } }');
  assert.equal((await fetch(`${address}?query=${mutation}`)).status, 405);
});
