// A document is written, checked while it is, and submitted; anything is found from anywhere.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open } from "./browser.mjs";
import { get, quick, submit } from "./documents.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("a document is checked while it is written, at its line, and submitted once", async () => {
  const it = await open(browser, "/submit");
  const { page } = it;
  const document = page.getByRole("textbox", { name: "Job document" });
  await page.getByText("It is good: 1 task.").waitFor();
  await assertAccessible(page, "submit");
  await document.fill("externalId: a\ntasks:\n  - externalId: b\n    executor: noop\n    replcas: 2\n");
  await page.getByText("Line 5:").waitFor();
  await page.locator(".editor li.wrong", { hasText: "5" }).waitFor();
  await assertAccessible(page, "a mistake");
  assert.equal(await page.getByRole("button", { name: "Submit", exact: true }).isDisabled(), true);
  await document.fill("externalId: from the page\ntasks:\n  - externalId: b\n    executor: noop\n    replicas: 2\n");
  await page.getByRole("button", { name: "Submit 2 tasks" }).click();
  await page.getByRole("heading", { level: 1, name: "from the page" }).waitFor();
  await page.locator('[data-state="COMPLETED"]').first().waitFor();
  const [, jobId] = page.url().match(/\/jobs\/(job-[0-9a-f-]+)/);
  assert.equal((await get(`/api/v1/jobs/${jobId}`)).taskCounters.completed, 2);

  // The same again, changed.
  await page.goto(`${url}/jobs/${jobId}?tab=document`);
  await page.getByRole("link", { name: "Submit it changed" }).click();
  await page.waitForFunction(() => document.querySelector("textarea")?.value.includes("from the page"));
  await page.getByText("It is good: 2 tasks.").waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("Ctrl-K finds a job by its name and goes there by keys alone", async () => {
  const { jobId } = await submit({ ...quick("needle in the hay", 1), labels: { found: "by-its-label" } });
  const it = await open(browser, "/workers");
  const { page } = it;
  await page.locator('[data-fresh="live"]').waitFor();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("needle");
  await page.getByRole("option", { name: "needle in the hay" }).first().waitFor();
  await assertAccessible(page, "search");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "needle in the hay" }).waitFor();
  assert.equal(new URL(page.url()).pathname, `/jobs/${jobId}`);
  // By a label, by an id of a task, by a worker.
  const [{ workerId }] = (await get("/api/v1/workers")).items;
  const taskId = `${jobId.replace("job-", "task-")}-1`;
  for (const [typed, found] of [
    ["found=by-its", "found=by-its-label"],
    [taskId, taskId],
    [workerId, workerId],
  ]) {
    await page.keyboard.press("Control+k");
    await page.keyboard.type(typed);
    await page.getByRole("option").filter({ hasText: found }).first().waitFor();
    await page.keyboard.press("Escape");
  }
  await page.keyboard.press("Control+k");
  await page.keyboard.type("work");
  await page.getByRole("option", { name: "Workers" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.deepEqual(it.wrong, []);
  await it.close();
});
