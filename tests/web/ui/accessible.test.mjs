// Nothing of what WCAG 2.2 AA forbids, as far as axe can tell, in any view, in either colours, nor on a narrow screen; and
// no view is wider than that.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertAccessible, launch, open, until } from "./browser.mjs";
import { failing, flowing, get, held, kill, labelled, list, quick, retried, submit } from "./documents.mjs";

let browser;
let jobs;
before(async () => {
  browser = await launch();
  const documents = [flowing("accessible"), failing("fails"), held("waits"), labelled(held("goes"), "accessible"), retried("is retried"), quick("is quick", 1)];
  const [flows, fails, waits, goes, retries, noop] = await Promise.all(documents.map((it) => submit(it)));
  jobs = { flows, fails, waits, goes, retries, noop };
  await until(async () => (await get(`/api/v1/jobs/${retries.jobId}`)).status === "COMPLETED");
});
after(async () => {
  for (const it of ["flows", "fails", "waits"]) await kill(jobs[it]);
  await browser?.close();
});

const WIDE = { width: 1400, height: 900 };
const NARROW = { width: 390, height: 844 };

/** The view as it is: all of it in the light, its colours in the dark, the rest of it again on a narrow screen. */
async function assertView(page, name) {
  await page.emulateMedia({ colorScheme: "light" });
  await assertAccessible(page, `${name}, light`);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
  await assertAccessible(page, `${name}, dark`, { runOnly: ["color-contrast", "link-in-text-block"] });
  await page.setViewportSize(NARROW);
  await page.evaluate(() => new Promise(requestAnimationFrame));
  await assertAccessible(page, `${name}, narrow`, { rules: { "color-contrast": { enabled: false } } });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name} is ${wide} pixels too wide`);
  await page.setViewportSize(WIDE);
}

/** Goes to a view as its links do: the page is not loaded anew. */
async function turn(page, path) {
  await page.evaluate((path) => {
    history.pushState(null, "", path);
    dispatchEvent(new PopStateEvent("popstate"));
  }, path);
}

/** Goes through views: of each its address, and what is in sight when it is there, and was not before. */
async function assertViews(views) {
  const it = await open(browser, views[0][0]);
  await it.page.locator('[data-fresh="live"]').waitFor();
  for (const [path, sign] of views) {
    await turn(it.page, path);
    await it.page.locator(sign).first().waitFor();
    await assertView(it.page, path);
  }
  assert.deepEqual(it.wrong, []);
  await it.close();
}

const task = ({ jobId }, number) => `${jobId.replace("job-", "task-")}-${number}`;

// Each has a page of its own.
describe("nothing is forbidden in", { concurrency: 2 }, () => {
  test("lists", async () => {
    const [{ workerId }] = (await get("/api/v1/workers")).items;
    await assertViews([
      ["/?range=5m", ".chart canvas"],
      ["/jobs", "[aria-label=Jobs] tbody tr"],
      [list("nothing"), "text=No job fits."],
      ["/workers", "[aria-label=Workers] tbody tr"],
      ["/workers?state=PENDING", "text=No worker fits."],
      [`/workers/${workerId}?range=5m`, "[data-part=metrics] .chart canvas"],
      ["/logs", ".line"],
      ["/logs?q=nothingofthekind", "text=No lines."],
      ["/submit", "text=It is good"],
    ]);
  });

  test("a job, in all its parts", async () => {
    const { flows, fails, waits, retries, noop } = jobs;
    const { createdAt } = await get(`/api/v1/jobs/${retries.jobId}`);
    const asOf = new Date(Date.parse(createdAt) + 300).toISOString();
    await assertViews([
      [`/jobs/${retries.jobId}`, "[aria-label=Tasks] tbody tr"],
      [`/jobs/${retries.jobId}?state=READY`, "text=No task fits."],
      [`/jobs/${waits.jobId}`, "text=zone=nowhere"],
      [`/jobs/${retries.jobId}?tab=timeline`, "[data-attempt]"],
      [`/jobs/${fails.jobId}?tab=retries`, "text=Cancel"],
      [`/jobs/${retries.jobId}?tab=retries`, "text=No retry is scheduled."],
      [`/jobs/${noop.jobId}?tab=pipeline`, "text=No task of this job is a pipeline"],
      [`/jobs/${fails.jobId}?tab=logs`, ".line"],
      [`/jobs/${retries.jobId}?tab=history`, "text=JobSubmitted"],
      [`/jobs/${retries.jobId}?tab=history&asOf=${asOf}`, "[data-past]"],
      [`/jobs/${retries.jobId}?tab=document`, "text=As it was submitted"],
      [`/jobs/${flows.jobId}?tab=metrics`, ".chart canvas"],
      [`/jobs/${flows.jobId}?tab=pipeline&node=known`, ".failed-records li"],
    ]);
  });

  test("a task, in all its parts; and what is not there", async () => {
    const { fails, flows } = jobs;
    await assertViews([
      [`/tasks/${task(fails, 1)}`, '[data-part="failure"]'],
      [`/tasks/${task(fails, 1)}?tab=logs`, ".line"],
      [`/tasks/${task(fails, 1)}?tab=history`, "text=RetryScheduled"],
      [`/tasks/${task(flows, 1)}?tab=metrics`, ".chart canvas"],
      [`/tasks/${task(fails, 99)}`, "text=There is no task-"],
      ["/jobs/job-01a216be-db58-73df-bfee-c8409bbcfef7", "text=There is no job-"],
      ["/workers/worker-nowhere", "text=There is no worker-"],
      ["/jobs/nonsense", '[role="alert"], .notice'],
    ]);
  });

  test("dialogs, and what is said beside", async () => {
    const { goes, fails } = jobs;
    const it = await open(browser, list("accessible"));
    const { page } = it;
    const dialog = page.getByRole("dialog");
    const shut = async () => {
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
    };
    await page.getByRole("checkbox", { name: goes.jobId }).click();
    const group = page.getByRole("group", { name: "With the chosen jobs" });
    for (const [action, says] of [
      ["Kill", "1 job will be killed: 2 tasks"],
      ["Stop", "1 job will be stopped"],
      ["Retry", "no task that has failed for good"],
    ]) {
      await group.getByRole("button", { name: action, exact: true }).click();
      await dialog.getByText(says).waitFor();
      await assertView(page, `the dialog ${action}`);
      await shut();
    }
    await page.keyboard.press("Control+k");
    await page.keyboard.type("goes");
    await page.getByRole("option", { name: "goes" }).first().waitFor();
    await assertView(page, "search");
    await page.keyboard.type(" nowhere to be found");
    await page.getByText("Nothing begins so.").waitFor();
    await assertView(page, "search without a find");
    await shut();

    await turn(page, `/jobs/${fails.jobId}?tab=retries`);
    for (const [button, says] of [
      ["Now", "is tried again at once"],
      ["Cancel", "becomes final"],
    ]) {
      await page.getByRole("button", { name: button, exact: true }).click();
      await dialog.getByText(says).waitFor();
      await assertView(page, `the dialog ${button}`);
      await shut();
    }
    await turn(page, "/workers");
    for (const button of ["Cordon", "Drain"]) {
      await page.getByRole("button", { name: button, exact: true }).first().click();
      await dialog.getByText("It gets no new work").waitFor();
      await assertView(page, `the dialog ${button}`);
      await shut();
    }

    // A mistake in a document, and what is told when something is done.
    await turn(page, "/submit");
    const document = page.getByRole("textbox", { name: "Job document" });
    await document.fill("externalId: a\ntasks:\n  - externalId: b\n    replcas: 2\n");
    await page.getByText("Line 4:").waitFor();
    await assertView(page, "a mistake");
    await turn(page, `/jobs/${goes.jobId}`);
    await page.getByRole("button", { name: "Kill" }).click();
    await dialog.getByRole("button", { name: "Kill 1 job" }).click();
    await page.getByText("Kill: done for 1 job.").waitFor();
    await assertView(page, "what is told");
    assert.deepEqual(it.wrong, []);
    await it.close();
  });
});
