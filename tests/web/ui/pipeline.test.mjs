// A pipeline as the web page draws it, with what goes through its nodes.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open, until } from "./browser.mjs";
import { flowing, get, submit } from "./documents.mjs";

let browser;
let job;
before(async () => {
  browser = await launch();
  job = await submit(flowing("drawn"));
});
after(async () => {
  await fetch(`${url}/api/v1/jobs/kill/${job.jobId}`, { method: "DELETE" });
  await browser?.close();
});

const sum = async (metric, tags) => {
  const { dataPoints } = await get(`/api/v1/metrics?metric=${metric}&aggregation=sum&interval=1d&groupBy=job_id&${tags}`);
  return dataPoints.reduce((all, { value }) => all + value, 0);
};

test("a pipeline is drawn with what goes through its nodes, and a node says what it does and what failed", async () => {
  const it = await open(browser, `/jobs/${job.jobId}?tab=pipeline`);
  const { page } = it;
  const node = (id) => page.locator(`[data-node="${id}"]`);
  await page.getByRole("button", { name: /^known, transform, assertion: [0-9,.]+k? records, [0-9,.]+\/s, [0-9,]+ failed/ }).waitFor();
  assert.equal(await page.locator("[data-node]").count(), 6);
  assert.equal(await page.locator(".graph .way").count(), 5);
  // Records that fail go to the dead letters.
  assert.equal(await page.locator(".graph .way-failed").count(), 1);
  await assertAccessible(page, "a pipeline");

  // In layers, from left to right.
  const left = async (id) => (await node(id).boundingBox()).x;
  const places = [await left("in"), await left("known"), await left("even"), await left("out")];
  assert.deepEqual(places, places.toSorted((a, b) => a - b));

  await node("in").focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.node), "known");
  await page.keyboard.press("Enter");
  const details = page.getByRole("region", { name: "Node known" });
  await details.getByText("mod(to_int!(.index), 10) != 3").waitFor();
  await details.getByText("no customer").nth(1).waitFor();
  await details.getByText(`{"index":3}`).first().waitFor();
  await details.getByRole("img", { name: /taken: last [0-9].*failed: last [0-9]/ }).waitFor();
  assert.match(page.url(), /node=known/);
  await assertAccessible(page, "a node");
  await page.getByRole("button", { name: "Dark colours" }).click();
  await assertAccessible(page, "a node in the dark");

  // When all is over, the numbers are those of the metrics.
  await fetch(`${url}/api/v1/jobs/${job.jobId}/stop`, { method: "POST" });
  await page.locator('[data-state="COMPLETED"]').first().waitFor();
  const row = page.locator('[data-row="known"] td');
  await page.waitForFunction(() => {
    const [taken, given, , failed] = [...document.querySelectorAll('[data-row="known"] td.number')].map((it) => Number(it.textContent.replaceAll(",", "")));
    return taken > 0 && taken === given + failed;
  });
  // The last of them may still be on their way, to both.
  await until(async () => {
    const failed = await sum("node_errors", `tag.job_id=${job.jobId}&tag.node_id=known`);
    return failed > 0 && Number((await row.last().textContent()).replaceAll(",", "")) === failed;
  });
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a document in YAML is drawn too, and one without a pipeline says so", async () => {
  const text = `externalId: drawn from yaml
tasks:
  - externalId: first
    dag:
      - { id: in, commandName: generatesource, config: { count: 10 }, outputs: [out] }
      - { id: out, commandName: stdout, config: {}, outputs: [] }
  - { externalId: program, command: ["true"] }
  - externalId: second
    dag: [{ id: in, commandName: generatesource, config: { count: 20 }, outputs: [end] }, { id: end, commandName: stdout, config: {}, outputs: [] }]
`;
  const answer = await fetch(`${url}/api/v1/jobs`, { method: "POST", headers: { "content-type": "application/yaml" }, body: text });
  assert.equal(answer.status, 201);
  const { jobId } = await answer.json();
  const it = await open(browser, `/jobs/${jobId}?tab=pipeline`);
  const { page } = it;
  await page.getByRole("group", { name: "Pipeline first" }).waitFor();
  // Both have a node of that name: each has its own numbers.
  await page.getByRole("button", { name: /^in, source, generatesource: 10 records/ }).waitFor();
  await page.getByRole("group", { name: "Pipeline", exact: true }).getByRole("button", { name: "second" }).click();
  await page.getByRole("button", { name: /^in, source, generatesource: 20 records/ }).waitFor();
  const plain = await submit({ tasks: [{ externalId: "program", command: ["true"] }] });
  await page.goto(`${url}/jobs/${plain.jobId}?tab=pipeline`);
  await page.getByText("No task of this job is a pipeline").waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});
