// What a running pipeline does, as the web page draws it in charts of metrics.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open } from "./browser.mjs";
import { flowing, get, submit } from "./documents.mjs";

let browser;
let job;
before(async () => {
  browser = await launch();
  job = await submit(flowing("flowing"));
});
after(async () => {
  await fetch(`${url}/api/v1/jobs/kill/${job.jobId}`, { method: "DELETE" });
  await browser?.close();
});

const chart = (page, title) => page.locator(`[data-chart="${title}"]`);
/** Says what a chart shows, once it shows numbers of all its lines. */
const drawing = (page, title, words) => chart(page, title).getByRole("img", { name: words });
const legend = (page, title, words) => chart(page, title).locator(".legend li", { hasText: words });
const task = (number) => `${job.jobId.replace("job-", "task-")}-${number}`;

/** How many pixels of the canvas are drawn on. */
const inked = (page, title) =>
  chart(page, title)
    .locator("canvas")
    .evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let at = 3; at < data.length; at += 4) if (data[at] > 0) count += 1;
      return count;
    });

test("charts of a job say what was measured, go on by themselves, and show the time that is wanted", async () => {
  const it = await open(browser, `/jobs/${job.jobId}?tab=metrics`);
  const { page } = it;
  await drawing(page, "Records", /^Records\. read: last [0-9,.]+k?\/s, between .* written: last [0-9]/).waitFor();
  await drawing(page, "Records that failed", /failed: last [0-9]/).waitFor();
  await chart(page, "Records").locator("canvas").waitFor();
  assert.ok((await inked(page, "Records")) > 500);
  await legend(page, "Tasks by state", /^running2$/).waitFor();
  await assertAccessible(page, "charts");

  // As a table, to which rows come.
  await page.getByRole("button", { name: "Records as a table" }).click();
  const rows = page.getByRole("region", { name: "Values of Records" }).locator("tbody tr");
  await rows.first().waitFor();
  const newest = await rows.first().locator("time").getAttribute("datetime");
  await page.waitForFunction((newest) => document.querySelector(".values tbody time").dateTime > newest, newest);
  await page.getByRole("button", { name: "Records as a table" }).click();

  // By keys.
  await drawing(page, "Records", /./).focus();
  await page.keyboard.press("ArrowLeft");
  await chart(page, "Records").getByText(/^[0-9:]+.*: read [0-9].*, written [0-9]/).waitFor();

  // A part of the time, drawn out of it; and all again.
  const box = await chart(page, "Records").locator(".u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 50, { steps: 5 });
  await page.mouse.up();
  await page.getByRole("button", { name: "Part : show all again" }).waitFor();
  assert.match(page.url(), /from=[0-9]+&to=[0-9]+/);
  const times = page.getByRole("group", { name: "Time shown" });
  await times.getByRole("button", { name: "5m", exact: true }).click();
  assert.match(page.url(), /range=5m/);
  assert.doesNotMatch(page.url(), /from=/);
  await drawing(page, "Records", /read: last [0-9]/).waitFor();

  await page.getByRole("button", { name: "Dark colours" }).click();
  await assertAccessible(page, "charts in the dark");
  assert.ok((await inked(page, "Records")) > 500);
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a task, a worker and the whole have charts of their own", async () => {
  const it = await open(browser, `/tasks/${task(1)}?tab=metrics`);
  const { page } = it;
  await drawing(page, "Records", /read: last [0-9]/).waitFor();
  const [{ workerId, maxCapacity }] = (await get("/api/v1/workers")).items;
  // In windows short enough that the beginning of the job is soon behind.
  await page.goto(`${url}/workers/${workerId}?range=5m`);
  await drawing(page, "Slots", new RegExp(`taken: last [2-9], .* there: last ${maxCapacity},`)).waitFor();
  await drawing(page, "Memory", /resident: last [0-9.]+ [MG]iB/).waitFor();
  await assertAccessible(page, "charts of a worker");
  await page.goto(`${url}?range=5m`);
  await drawing(page, "Slots of workers", /taken: last [2-9]/).waitFor();
  await drawing(page, "Records", /read: last [0-9]/).waitFor();
  await drawing(page, "Tasks that wait", /ready: last [0-9]/).waitFor();
  await page.getByRole("group", { name: "Time shown" }).getByRole("button", { name: "15m" }).click();
  assert.match(page.url(), /\?range=15m$/);
  await assertAccessible(page, "trends");
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("what a program reports itself has a chart of its name", async () => {
  const report = "for i in 1 2 3 4 5 6; do curl -sS --data-binary \"training loss=0.$i\" \"$GRID_METRICS_URL\"; sleep 0.5; done";
  const { jobId } = await submit({ tasks: [{ externalId: "training", command: ["sh", "-c", report], retry: { maxRetries: 0 } }] });
  const it = await open(browser, `/jobs/${jobId}?tab=metrics`);
  const { page } = it;
  await drawing(page, "training.loss", /^training\.loss\. mean: last 0\.[0-9]+, between 0\.[0-9]+ and 0\.[0-9]+\.$/).waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("nothing of what draws is loaded before it is needed", async () => {
  const it = await open(browser, "/jobs");
  const { page } = it;
  await page.locator("tbody tr").first().waitFor();
  const loaded = () => page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
  assert.doesNotMatch((await loaded()).join(" "), /Plot|Panel/);
  await page.goto(`${url}/jobs/${job.jobId}?tab=metrics`);
  await chart(page, "Records").locator("canvas").waitFor();
  assert.match((await loaded()).join(" "), /Plot/);
  await it.close();
});
