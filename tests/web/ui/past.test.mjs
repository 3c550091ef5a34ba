// What a job did, as the web page shows it afterwards: its attempts over time, and the job as it was at any time.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open } from "./browser.mjs";
import { get, quick, retried, submit } from "./documents.mjs";

let browser;
let job;
let many;

async function ended({ jobId }) {
  const deadline = Date.now() + 30_000;
  while ((await get(`/api/v1/jobs/${jobId}`)).status === "RUNNING") {
    assert.ok(Date.now() < deadline, "it has not ended");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

before(async () => {
  browser = await launch();
  [job, many] = [await submit(retried("retried")), await submit(quick("many", 450))];
  await Promise.all([ended(job), ended(many)]);
});
after(() => browser?.close());

const bar = (page, name, attempt) => page.locator(`[data-attempt="${name} ${attempt}"]`);
const counters = async (page) => {
  const found = {};
  for (const name of ["ready", "scheduled", "running", "completed", "failed"]) {
    found[name] = Number(await page.locator(`[data-past-counter="${name}"] b`).textContent());
  }
  return found;
};

test("attempts are drawn over time, gone through by keys, and lead to what they were", async () => {
  const it = await open(browser, `/jobs/${job.jobId}?tab=timeline`);
  const { page } = it;
  await bar(page, "flaky-1", 2).waitFor();
  assert.equal(await page.locator("[data-attempt]").count(), 3 + 2 * 2);
  for (const [name, attempt, outcome] of [["flaky-0", 1, "FAILED"], ["flaky-0", 2, "COMPLETED"], ["steady-0", 1, "COMPLETED"]]) {
    assert.equal(await bar(page, name, attempt).getAttribute("data-outcome"), outcome);
  }
  // The first attempt is left of the second.
  const [first, second] = await Promise.all([1, 2].map((attempt) => bar(page, "flaky-0", attempt).locator(".ran").boundingBox()));
  assert.ok(first.x + first.width < second.x, `${JSON.stringify(first)} ${JSON.stringify(second)}`);
  await assertAccessible(page, "a timeline");

  await page.getByRole("region", { name: "Attempts over time" }).focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowRight");
  await page.getByText(/flaky-1, attempt 2: COMPLETED, waited .*, ran .*, on worker-/).waitFor();
  await page.keyboard.press("+");
  assert.match(page.url(), /from=[0-9]+&to=[0-9]+/);
  await page.keyboard.press("0");
  assert.doesNotMatch(page.url(), /from=/);
  await page.keyboard.press("ArrowLeft");
  await page.getByText(/flaky-1, attempt 1: FAILED \(ERROR\)/).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "flaky-1" }).waitFor();
  assert.match(page.url(), /\/tasks\/task-.*-5\?attempt=1$/);
  const row = page.getByRole("region", { name: "Attempts" }).locator('tr[aria-current="true"]');
  await row.getByText("FAILED").waitFor();
  await page.goBack();
  await bar(page, "flaky-1", 2).waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("of many attempts only those in sight are drawn, and states are filtered", async () => {
  const it = await open(browser, `/jobs/${many.jobId}?tab=timeline`);
  const { page } = it;
  await bar(page, "noop-0", 1).waitFor();
  await page.getByText("1–200 of 450 tasks").waitFor();
  assert.ok((await page.locator("[data-attempt]").count()) < 80);
  await page.getByRole("region", { name: "Attempts over time" }).focus();
  await page.keyboard.press("End");
  await bar(page, "noop-199", 1).waitFor();
  assert.equal(await bar(page, "noop-0", 1).count(), 0);
  await page.getByRole("button", { name: "Next page" }).click();
  await bar(page, "noop-200", 1).waitFor();
  await page.getByRole("group", { name: "State" }).getByRole("button", { name: "Failed" }).click();
  await page.getByText("No task fits.").waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("one drags through what happened, and sees the job as it was; the link shows the same", async () => {
  const it = await open(browser, `/jobs/${job.jobId}?tab=history`);
  const { page } = it;
  const slider = page.getByRole("slider", { name: "Moment" });
  await page.getByText("Drag, or use arrow keys").waitFor();
  await page.waitForFunction(() => Number(document.querySelector('input[type="range"]').max) > 10);
  await slider.focus();
  await page.keyboard.press("Home");
  await page.getByText("The job is submitted").waitFor();
  await page.locator('[data-past-counter="completed"]', { hasText: "now 5" }).waitFor();
  assert.deepEqual((await counters(page)).completed, 0);

  // At each moment on the way the server says the same.
  let failing;
  const moments = Number(await slider.getAttribute("max"));
  for (let place = 0; place < moments; place += 1) {
    const asOf = new URL(page.url()).searchParams.get("asOf");
    const { taskCounters } = await get(`/api/v1/jobs/${job.jobId}?asOf=${encodeURIComponent(asOf)}`);
    await page.waitForFunction((wanted) => {
      const shown = (name) => Number(document.querySelector(`[data-past-counter="${name}"] b`)?.textContent);
      return Object.entries(wanted).every(([name, value]) => shown(name) === value);
    }, taskCounters);
    if (/^flaky-0 fails/.test(await slider.getAttribute("aria-valuetext"))) failing = asOf;
    await page.keyboard.press("ArrowRight");
  }
  await page.getByText("Drag, or use arrow keys").waitFor();
  assert.doesNotMatch(page.url(), /asOf/);
  assert.ok(failing, "a moment at which flaky-0 fails");

  await page.goto(`${url}/jobs/${job.jobId}?asOf=${encodeURIComponent(failing)}`);
  await page.getByText(/^flaky-0 fails: ERROR/).waitFor();
  const flaky = page.locator('[data-past="flaky-0"]');
  await flaky.locator('[data-state="FAILED"]').waitFor();
  await flaky.getByText("COMPLETED").waitFor();
  assert.equal(await page.locator("[data-past]").count(), 5);
  await assertAccessible(page, "a job as it was");
  await page.getByRole("button", { name: "Dark colours" }).click();
  await assertAccessible(page, "a job as it was, in the dark");

  // From what has happened one goes to when it did.
  const finished = page.getByRole("region", { name: "History" }).locator("tr", { hasText: "JobFinished" });
  assert.equal(await finished.getAttribute("aria-current"), null);
  await finished.getByRole("link").click();
  await page.locator('[data-past-counter="completed"]', { hasText: "as now" }).waitFor();
  assert.equal(await finished.getAttribute("aria-current"), "true");
  await page.getByRole("button", { name: "Now", exact: true }).click();
  await page.getByText("Drag, or use arrow keys").waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});
