// Tokens in the first message of a WebSocket, where whoever shows none may do nothing. GRID_TOKENS has one of each role.
import assert from "node:assert/strict";
import { test } from "node:test";
import { load, url } from "./modules.mjs";
import { WebSocket, address, events, raw } from "./socket.mjs";

const { createClient } = load("graphql-ws");
const tokens = JSON.parse(process.env.GRID_TOKENS);
const unknown = `grid_${"0".repeat(16)}_${"0".repeat(64)}`;
const kill = 'mutation { killJob(id: "job-0198c2a0-7c00-7000-8000-000000000001") { position } }';

async function introduced(payload) {
  const it = await raw();
  it.send({ type: "connection_init", payload });
  assert.deepEqual(await it.next(), { type: "connection_ack" });
  return it;
}

async function ask(it, query) {
  it.send({ type: "subscribe", id: "1", payload: { query } });
  const answer = await it.next();
  assert.equal(answer.type, "next", JSON.stringify(answer));
  assert.equal((await it.next()).type, "complete");
  return answer.payload;
}

for (const [form, payload] of Object.entries({
  "as in HTTP": { Authorization: `Bearer ${tokens.viewer}` },
  "in small letters": { authorization: `Bearer ${tokens.viewer}` },
  "without its scheme": { token: tokens.viewer },
})) {
  test(`a token is shown in the first message, ${form}`, async () => {
    const it = await introduced(payload);
    assert.deepEqual((await ask(it, "{ jobs { totalCount } }")).data, { jobs: { totalCount: 0 } });
    // A viewer only looks.
    assert.equal((await ask(it, kill)).errors[0].extensions.code, "FORBIDDEN");
    it.socket.close();
  });
}

test("an operator is let through to what he asks for", async () => {
  const it = await introduced({ token: tokens.operator });
  assert.equal((await ask(it, kill)).errors[0].extensions.code, "NOT_FOUND");
  it.socket.close();
});

test("the reference client shows its token", async () => {
  const it = createClient({
    url: address,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { Authorization: `Bearer ${tokens.viewer}` },
  });
  const answers = [];
  for await (const answer of it.iterate({ query: "{ __typename }" })) answers.push(answer);
  assert.deepEqual(answers, [{ data: { __typename: "Query" } }]);
  await it.dispose();
});

for (const [what, payload] of Object.entries({
  "no token": undefined,
  "an unknown token": { token: unknown },
  "a wrong secret": { token: `${tokens.viewer.slice(0, 22)}${"0".repeat(64)}` },
  "what is no token": { Authorization: "Basic eA==" },
  "a token that is no text": { token: 1 },
  "a worker's token": { token: tokens.worker },
})) {
  test(`closed with 4403: ${what}`, async () => {
    const it = await raw();
    it.send({ type: "connection_init", payload });
    // It would be answered if it were let in.
    it.send({ type: "subscribe", id: "1", payload: { query: "{ __typename }" } });
    assert.deepEqual(await it.closed, { code: 4403, reason: "Forbidden" });
    assert.deepEqual(it.said, []);
  });
}

test("closed with 4403: a token that is revoked while it is used", async () => {
  const it = await introduced({ token: tokens.revoked });
  const other = await introduced({ token: tokens.viewer });
  it.send(events("1", "(fromStart: true)"));
  const id = tokens.revoked.split("_")[1];
  const revoked = await fetch(`${url}/api/v1/tokens/${id}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${tokens.admin}` },
  });
  assert.equal(revoked.status, 200);
  const since = performance.now();
  assert.deepEqual(await it.closed, { code: 4403, reason: "Forbidden" });
  // As soon as every server refuses it (REVOKED_WITHIN).
  assert.ok(performance.now() - since < 2000, `after ${performance.now() - since} ms`);
  // Nobody else's connection ends with it, and it opens none any more.
  assert.equal((await ask(other, "{ __typename }")).data.__typename, "Query");
  other.socket.close();
  const again = await raw();
  again.send({ type: "connection_init", payload: { token: tokens.revoked } });
  assert.equal((await again.closed).code, 4403);
});
