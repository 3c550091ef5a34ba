// A WebSocket of a server whose Postgres is gone: whether a token is good cannot be told.
import assert from "node:assert/strict";
import { test } from "node:test";
import { raw } from "./socket.mjs";

test("closed with 4500: a token that nobody can look up", async () => {
  const it = await raw();
  it.send({ type: "connection_init", payload: { token: process.env.GRID_TOKEN } });
  assert.deepEqual(await it.closed, { code: 4500, reason: "Internal server error" });
  assert.deepEqual(it.said, []);
});
