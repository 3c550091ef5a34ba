// Lines of tasks in the web page: as they come, searched, held and kept; and what failed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, launch, open } from "./browser.mjs";
import { get, kill, submit } from "./documents.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const line = (page, text) => page.locator(".line", { hasText: text });
const lines = (page) => page.getByRole("region", { name: "Lines" });
const count = async (page) => Number(await lines(page).getAttribute("data-count"));
const program = (script, more = {}) => ({ tasks: [{ externalId: "writes", command: ["sh", "-c", script], retry: { maxRetries: 0 }, ...more }] });
const taskOf = ({ jobId }) => `${jobId.replace("job-", "task-")}-1`;

test("lines come while one looks, are held back, searched, and told by their level", async () => {
  const script = `echo begun; echo "ERROR it broke <b>here</b>" >&2; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.25; done`;
  const job = await submit(program(script));
  const task = taskOf(job);
  const it = await open(browser, `/tasks/${task}?tab=logs`);
  const { page } = it;
  await line(page, "tick 3").first().waitFor();
  // Each once, though the first came before the tail began.
  assert.equal(await line(page, /begun$/).count(), 1);
  assert.equal(await line(page, /tick 1$/).count(), 1);
  const broken = line(page, "<b>here</b>");
  assert.match(await broken.getAttribute("class"), /error/);
  assert.match(await broken.textContent(), /ERROR/);
  await assertAccessible(page, "logs");

  await page.getByRole("button", { name: "Pause" }).click();
  const held = await count(page);
  await page.getByRole("button", { name: /Go on \([0-9]+ more\)/ }).waitFor();
  assert.equal(await count(page), held);
  await page.getByRole("button", { name: /Go on/ }).click();
  await page.waitForFunction((held) => Number(document.querySelector(".lines").dataset.count) > held, held);

  await page.getByRole("group", { name: "Level" }).getByRole("button", { name: "Error" }).click();
  await page.waitForFunction(() => document.querySelector(".lines").dataset.count === "1");
  await page.getByRole("group", { name: "Level" }).getByRole("button", { name: "Error" }).click();
  await page.getByRole("searchbox", { name: "Search lines" }).fill('"tick 2"');
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".lines").dataset.count === "1");
  assert.match(page.url(), /q=%22tick\+2%22/);
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  // Back in time, where there is nothing yet; and here again.
  await page.getByLabel("Up to").fill("2020-01-01T00:00:00");
  await page.getByLabel("Up to").blur();
  await page.getByText("No lines.").waitFor();
  assert.match(page.url(), /to=20/);
  await page.getByRole("button", { name: "Back to now" }).click();
  await page.waitForFunction(() => document.querySelector(".lines").dataset.count === "1");
  assert.equal(file.suggestedFilename(), "logs.ndjson");
  await kill(job);
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a task that failed says why, with its last lines and each attempt", async () => {
  const job = await submit(program("echo last words >&2; exit 7", { retry: { maxRetries: 1, baseSeconds: 1 } }));
  const it = await open(browser, `/tasks/${taskOf(job)}`);
  const { page } = it;
  const attempts = page.getByRole("region", { name: "Attempts" });
  await attempts.locator("tbody tr").nth(1).waitFor();
  const failure = page.locator('[data-part="failure"]');
  await failure.getByText("ERROR, exit code 7").waitFor();
  await failure.getByText("last words").first().waitFor();
  await page.getByRole("link", { name: "History" }).click();
  await page.getByText("RetryScheduled").waitFor();
  await assertAccessible(page, "a failed task");
  assert.deepEqual(it.wrong, []);
  await it.close();
});
