// The pictures of README and docs, taken where GRID_UI_PICTURES says (scripts/pictures.sh).
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { launch, open } from "./browser.mjs";
import { get, submit } from "./documents.mjs";
import { backup, index, invoices, nothing, orders, receipts, reports, training } from "./scenes.mjs";

const folder = process.env.GRID_UI_PICTURES;
/** Milliseconds for which jobs run before they are looked at. */
const RUN = 75_000;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

async function picture(name, path, { dark = false, height = 800, ready }) {
  const it = await open(browser, path, { viewport: { width: 1280, height }, colorScheme: dark ? "dark" : "light" });
  await ready(it.page);
  // What is drawn has its last size, and lines have been drawn on.
  await it.page.waitForTimeout(1_500);
  await it.page.screenshot({ path: join(folder, `${name}.png`) });
  await it.close();
}

test("pictures", { skip: !folder, timeout: 240_000 }, async () => {
  await mkdir(folder, { recursive: true });
  const running = await submit(orders);
  const begun = Date.now();
  for (const it of [invoices, backup, reports, nothing]) await submit(it);
  await submit(index);
  const shops = await submit(receipts);
  const done = async ({ jobId }) => (await get(`/api/v1/jobs/${jobId}`)).status !== "RUNNING";
  while (!(await done(shops)) || Date.now() - begun < RUN) await new Promise((resolve) => setTimeout(resolve, 500));
  for (const it of [index, training]) await submit(it);
  const drawn = (page) => page.locator(".chart canvas").first().waitFor();

  const rows = (page) => page.locator("tbody tr").first().waitFor();
  await picture("overview", "/?range=5m", { height: 900, ready: drawn });
  await picture("jobs", "/jobs", { height: 560, ready: rows });
  const task = `/tasks/${shops.jobId.replace("job-", "task-")}-18`;
  await picture("task", `${task}?tab=logs`, { dark: true, height: 720, ready: (page) => page.locator(".line").first().waitFor() });
  await picture("pipeline", `/jobs/${running.jobId}?tab=pipeline`, { dark: true, ready: (page) => page.locator(".way-failed").waitFor() });
  await picture("timeline", `/jobs/${shops.jobId}?tab=timeline`, { height: 980, ready: (page) => page.locator("[data-attempt]").first().waitFor() });
  await picture("metrics", `/jobs/${running.jobId}?tab=metrics`, { dark: true, height: 1_000, ready: drawn });
  const { createdAt } = await get(`/api/v1/jobs/${shops.jobId}`);
  const asOf = new Date(Date.parse(createdAt) + 11_000).toISOString();
  await picture("history", `/jobs/${shops.jobId}?tab=history&asOf=${asOf}`, { height: 1_000, ready: (page) => page.locator("[data-past]").first().waitFor() });
  await fetch(`${url}/api/v1/jobs/kill/${running.jobId}`, { method: "DELETE" });
});
