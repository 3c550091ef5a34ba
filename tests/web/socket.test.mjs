// GraphQL over a WebSocket (graphql-transport-ws): the reference client, and everything that it would never do, by hand.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { kill, submit } from "./jobs.mjs";
import { load } from "./modules.mjs";
import { WebSocket, address, events, raw } from "./socket.mjs";

const { createClient } = load("graphql-ws");

const client = (options = {}) => createClient({ url: address, webSocketImpl: WebSocket, retryAttempts: 0, ...options });

async function introduced() {
  const it = await raw();
  it.send({ type: "connection_init" });
  assert.deepEqual(await it.next(), { type: "connection_ack" });
  return it;
}

test("the client asks a query", async () => {
  const it = client();
  const answers = [];
  for await (const answer of it.iterate({ query: "{ __typename }" })) answers.push(answer);
  assert.deepEqual(answers, [{ data: { __typename: "Query" } }]);
  await it.dispose();
});

test("the client follows a job, and goes on where it stopped", async () => {
  const job = await submit(2);
  const it = client();
  const query = `subscription ($id: ID!, $after: String) {
    jobChanged(jobId: $id, after: $after) { job { jobId status taskCounters { ready failed } } position } }`;
  const first = it.iterate({ query, variables: { id: job.jobId } });
  const { value } = await first.next();
  assert.equal(value.errors, undefined, JSON.stringify(value.errors));
  assert.deepEqual(value.data.jobChanged.job, {
    jobId: job.jobId,
    status: "RUNNING",
    taskCounters: { ready: 2, failed: 0 },
  });
  await kill(job.jobId);
  const seen = [];
  for await (const { data } of first) {
    seen.push(data.jobChanged);
    if (data.jobChanged.job.status !== "RUNNING") break;
  }
  assert.deepEqual(seen.at(-1).job.taskCounters, { ready: 0, failed: 2 });
  // From the first token on: the end comes at once, and once.
  const again = it.iterate({ query, variables: { id: job.jobId, after: value.data.jobChanged.position } });
  const resumed = await again.next();
  assert.equal(resumed.value.data.jobChanged.job.status, "FAILED");
  await again.return();
  await it.dispose();
});

test("what is wrong with a document ends the operation, not the connection", async () => {
  const it = await introduced();
  it.send({ type: "subscribe", id: "1", payload: { query: "{ nothing }" } });
  const answer = await it.next();
  assert.equal(answer.type, "error");
  assert.equal(answer.payload[0].extensions.code, "INVALID_QUERY");
  it.send({ type: "subscribe", id: "1", payload: { query: "{ __typename }" } });
  assert.deepEqual(await it.next(), { id: "1", type: "next", payload: { data: { __typename: "Query" } } });
  assert.deepEqual(await it.next(), { id: "1", type: "complete" });
  it.socket.close();
});

test("a job that is not there is an error with its code", async () => {
  const it = await introduced();
  const query = 'subscription { jobChanged(jobId: "job-0198c2a0-7c00-7000-8000-000000000001") { position } }';
  it.send({ type: "subscribe", id: "1", payload: { query } });
  const answer = await it.next();
  assert.equal(answer.type, "next");
  assert.equal(answer.payload.errors[0].extensions.code, "NOT_FOUND");
  assert.equal((await it.next()).type, "complete");
  it.socket.close();
});

test("ping is answered with its payload", async () => {
  const it = await raw();
  it.send({ type: "ping", payload: { a: 1 } });
  assert.deepEqual(await it.next(), { type: "pong", payload: { a: 1 } });
  it.send({ type: "pong" });
  it.socket.ping("there?");
  const [bytes] = await once(it.socket, "pong");
  assert.equal(bytes.toString(), "there?");
  it.socket.close();
});

test("the server pings", async () => {
  const it = await introduced();
  await once(it.socket, "ping");
  it.socket.close();
});

test("a client that completes hears no more", async () => {
  const it = await introduced();
  it.send(events("1"));
  it.send({ type: "complete", id: "1" });
  it.send({ type: "complete", id: "never begun" });
  await submit();
  it.send({ type: "ping" });
  assert.deepEqual(await it.next(), { type: "pong" });
  // The id is free again.
  it.send(events("1"));
  const next = it.next();
  while (!(await Promise.race([next, submit().then(() => null)])));
  assert.equal((await next).type, "next");
  it.socket.close();
});

const closes = {
  "4400: no JSON": [4400, async (it) => it.send("{")],
  "4400: an unknown type": [4400, async (it) => it.send({ type: "start" })],
  "4400: an unknown field": [4400, async (it) => it.send({ type: "connection_init", more: 1 })],
  "4400: a subscription without a query": [
    4400,
    async (it) => {
      it.send({ type: "connection_init" });
      it.send({ type: "subscribe", id: "1", payload: {} });
    },
  ],
  "4400: binary": [4400, async (it) => it.socket.send(Buffer.from("{}"))],
  "4401: a subscription before the introduction": [4401, async (it) => it.send(events("1"))],
  "4408: no introduction": [4408, async () => {}],
  "4409: an id that is in use": [
    4409,
    async (it) => {
      it.send({ type: "connection_init" });
      it.send(events("1"));
      it.send(events("1"));
    },
  ],
  "4429: a second introduction": [
    4429,
    async (it) => {
      it.send({ type: "connection_init" });
      it.send({ type: "connection_init" });
    },
  ],
  "1009: a message that is too large": [1009, async (it) => it.send(`"${"x".repeat(1024 * 1024)}"`)],
  "1009: a message in parts that is too large": [
    1009,
    async (it) => {
      for (let part = 0; part < 20; part++) it.socket.send("x".repeat(64 * 1024), { fin: part === 19 });
    },
  ],
};

for (const [name, [code, action]] of Object.entries(closes)) {
  test(`closed with ${name}`, async () => {
    const it = await raw();
    await action(it);
    assert.equal((await it.closed).code, code);
  });
}

test("closed with 4406: another protocol", async () => {
  // The library closes by itself when no protocol is agreed on: ask without.
  const it = await raw("");
  assert.deepEqual(await it.closed, { code: 4406, reason: "Subprotocol not acceptable" });
});

test("a connection has at most so many operations", async () => {
  const it = await introduced();
  for (let id = 0; id < 101; id++) it.send(events(`${id}`));
  const answer = await it.next();
  assert.equal(answer.id, "100");
  assert.equal(answer.payload[0].extensions.code, "TOO_MANY_SUBSCRIPTIONS");
  it.socket.close();
});

test("a client that does not read is told, and dropped with 1013", async () => {
  const job = await submit(1500);
  await kill(job.jobId);
  const it = await introduced();
  const query = `subscription { events(fromStart: true) { event { type at principal jobId taskId data position } position } }`;
  it.socket._socket.pause();
  // Some 100 MB that nobody reads: much more than lies between the two of them.
  for (let id = 0; id < 60; id++) it.send({ type: "subscribe", id: `${id}`, payload: { query } });
  // Longer than the server takes to find it slow (graphql.slow_after), shorter than it keeps the connection then.
  await new Promise((resolve) => setTimeout(resolve, 5000));
  it.socket._socket.resume();
  const { code, reason } = await it.closed;
  assert.equal(code, 1013);
  assert.match(reason, /too slow/);
});
