// What is shown is fresh: it comes by itself, is asked for when nothing comes, and it is said when it is not.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open, until, wire } from "./browser.mjs";
import { get, held, kill, labelled, list, submit } from "./documents.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Milliseconds between two questions, as the page has it. */
const REFRESH = 5_000;
const fresh = (page, kind) => page.locator(`[data-fresh="${kind}"]`).waitFor();
const row = (page, text) => page.locator("tbody tr", { hasText: text });
const retry = async ({ jobId }) => {
  const answer = await fetch(`${url}/api/v1/jobs/${jobId}/retry`, { method: "POST" });
  assert.equal(answer.status, 200);
};
/** Questions for data that a page has asked, by their names. */
function counted(page) {
  const asked = {};
  page.on("request", (request) => {
    const name = request.method() === "POST" && request.postData()?.match(/query ([A-Z][A-Za-z]+)/)?.[1];
    if (name) asked[name] = (asked[name] ?? 0) + 1;
  });
  return asked;
}

test("every view of jobs lives by what comes, is asked for every 5 s without, and lives again", async (t) => {
  const line = await wire();
  t.after(() => line.close());
  const job = await submit(labelled(held("watched", 1), "watched"));
  const task = `${job.jobId.replace("job-", "task-")}-1`;
  const seen = (page, state) => page.locator(`main h1 + [data-state="${state}"]`).waitFor();
  const event = (type, nth) => (page) => row(page, type).nth(nth).waitFor();
  // For each view, what is seen of the job after it is killed, tried again, killed again and tried once more.
  const ofTask = (state) => (page) => row(page, "held").locator(`[data-state="${state}"]`).waitFor();
  const ofList = (state) => (page) => row(page, job.jobId).locator(`[data-state="${state}"]`).waitFor();
  const views = {
    [list("watched")]: [ofList("FAILED"), ofList("RUNNING"), ofList("FAILED"), ofList("RUNNING")],
    [`/jobs/${job.jobId}`]: [ofTask("FAILED"), ofTask("READY"), ofTask("FAILED"), ofTask("READY")],
    [`/jobs/${job.jobId}?tab=history`]: [event("JobFinished", 0), event("JobRetryRequested", 0), event("JobFinished", 1), event("JobRetryRequested", 1)],
    [`/tasks/${task}`]: ["FAILED", "READY", "FAILED", "READY"].map((state) => (page) => seen(page, state)),
    [`/tasks/${task}?tab=history`]: [event("TaskFailed", 0), event("TaskReady", 1), event("TaskFailed", 1), event("TaskReady", 2)],
  };
  const opened = await Promise.all(
    Object.entries(views).map(async ([path, sees]) => ({ path, sees, ...(await open(browser, path, { base: line.base, clock: true })) })),
  );
  const each = (what) => Promise.all(opened.map((it) => what(it.page, it)));
  const sees = (step) => each((page, it) => it.sees[step](page));
  const asked = opened.map(({ page }) => counted(page));
  const total = () => asked.reduce((sum, it) => sum + Object.values(it).reduce((all, count) => all + count, 0), 0);
  await each((page) => fresh(page, "live"));
  await kill(job);
  await sees(0);

  line.cutSockets();
  await each((page) => fresh(page, "polling"));
  await each((page) => page.getByText("The live connection is lost").waitFor());
  await assertAccessible(opened[0].page, "without its socket");
  await retry(job);
  await each((page) => page.clock.fastForward(REFRESH));
  await sees(1);
  const before = total();
  await kill(job);
  await each((page) => page.clock.fastForward(REFRESH));
  await sees(2);
  assert.ok(total() > before, "it was asked for");

  line.mend();
  // Sooner than it would be tried again by itself.
  await each((page) => page.clock.fastForward(REFRESH));
  await each((page) => fresh(page, "live"));
  await each((page) => page.getByText("The live connection is lost").waitFor({ state: "detached" }));
  await retry(job);
  await sees(3);
  await kill(job);
  await Promise.all(opened.map((it) => it.close()));
});

test("what happens before anything can be followed is not missed", async (t) => {
  const line = await wire();
  t.after(() => line.close());
  const job = await submit(labelled(held("early", 1), "early"));
  line.hold();
  const views = [list("early"), `/jobs/${job.jobId}`, `/tasks/${job.jobId.replace("job-", "task-")}-1`];
  const opened = await Promise.all(views.map((path) => open(browser, path, { base: line.base, clock: true })));
  const each = (what) => Promise.all(opened.map(({ page }) => what(page)));
  const shown = (state) => (page) => page.locator(`main [data-state="${state}"]`).first().waitFor();
  await each((page) => page.locator('[data-state="RUNNING"], [data-state="READY"]').first().waitFor());
  // Nothing is asked for by the clock while it stands still.
  await each(async (page) => page.clock.pauseAt((await page.evaluate(() => Date.now())) + 1_000));
  await kill(job);
  line.release();
  await each((page) => fresh(page, "live"));
  await each((page) => page.clock.runFor(2_500));
  await each(shown("FAILED"));
  await Promise.all(opened.map((it) => it.close()));
});

test("workers and the overview are asked for every 5 s, however live the rest is", async () => {
  const [{ workerId }] = (await get("/api/v1/workers")).items;
  const ask = async (path, name) => {
    const it = await open(browser, "/submit", { clock: true });
    const { page } = it;
    const asked = counted(page);
    // Time stands still, but for when it is told to go.
    await page.clock.pauseAt(Date.now() + 1_000);
    await page.goto(`${url}${path}`);
    await fresh(page, "live");
    await until(() => asked[name] === 1);
    await page.locator("main h1").waitFor();
    for (const times of [2, 3]) {
      await page.clock.runFor(REFRESH - 100);
      assert.equal(asked[name], times - 1, `${path} is asked for too soon`);
      await page.clock.runFor(100);
      await until(() => asked[name] === times);
    }
    assert.deepEqual(it.wrong, []);
    await it.close();
  };
  await Promise.all([ask("/", "Overview"), ask("/workers", "Workers"), ask(`/workers/${workerId}`, "Worker")]);
});

test("lines that do not come by themselves are asked for, and each is shown once", async (t) => {
  const line = await wire();
  t.after(() => line.close());
  const script = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done";
  const job = await submit({ tasks: [{ externalId: "writes", command: ["sh", "-c", script], retry: { maxRetries: 0 } }] });
  const it = await open(browser, `/tasks/${job.jobId.replace("job-", "task-")}-1?tab=logs`, { base: line.base, clock: true });
  const { page } = it;
  const count = async () => Number(await page.locator(".lines").getAttribute("data-count"));
  await fresh(page, "live");
  await until(async () => (await count()) > 2);
  line.cutSockets();
  await fresh(page, "polling");
  const before = await count();
  await until(async () => {
    await page.clock.fastForward(REFRESH);
    return (await count()) > before + 2;
  });
  line.mend();
  await page.clock.fastForward(REFRESH);
  await fresh(page, "live");
  const later = await count();
  await until(async () => (await count()) > later + 2);
  await kill(job);
  const lines = await page.locator(".line").allTextContents();
  const ticks = lines.map((text) => Number(text.match(/tick ([0-9]+)/)?.[1])).filter((it) => it > 0);
  assert.deepEqual(ticks, [...new Set(ticks)].toSorted((a, b) => a - b));
  await it.close();
});

test("that nothing answers is said, and what was missed comes when all is back", async (t) => {
  const line = await wire();
  t.after(() => line.close());
  const known = await submit(labelled(held("known"), "outage"));
  const it = await open(browser, list("outage"), { base: line.base, clock: true });
  const { page } = it;
  await fresh(page, "live");
  await row(page, known.jobId).waitFor();
  line.cut();
  await fresh(page, "stale");
  await page.getByRole("alert").filter({ hasText: "Grid does not answer" }).waitFor();
  assert.equal(await row(page, known.jobId).count(), 1, "what was known is still shown");
  await assertAccessible(page, "stale");
  await page.emulateMedia({ colorScheme: "dark" });
  await assertAccessible(page, "stale, dark");
  const missed = await submit(labelled(held("missed"), "outage"));
  await kill(known);
  line.mend();
  await page.clock.fastForward(REFRESH);
  await fresh(page, "live");
  await row(page, missed.jobId).waitFor();
  await row(page, known.jobId).locator('[data-state="FAILED"]').waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
  await kill(missed);
  await it.close();
});
