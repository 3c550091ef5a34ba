// The public audits of GraphQL over HTTP: every one must be met, those that are only recommended too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { load, url } from "./modules.mjs";

const { serverAudits } = load("graphql-http");

test("every audit of GraphQL over HTTP is met", async () => {
  const audits = serverAudits({ url: `${url}/graphql`, fetchFn: fetch });
  const unmet = [];
  for (const audit of audits) {
    const result = await audit.fn();
    if (result.status !== "ok") unmet.push(`${audit.id} ${audit.name}: ${result.status}: ${result.reason}`);
  }
  console.log(`audits: ${audits.length - unmet.length} of ${audits.length} met`);
  assert.deepEqual(unmet, []);
  assert.equal(audits.length, 61);
});
