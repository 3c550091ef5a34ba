// The web page as a person has it, in Chromium on a real standalone (GRID_URL).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open, wire } from "./browser.mjs";
import { failing, get, held, kill, quick, submit } from "./documents.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const row = (page, text) => page.locator("tbody tr", { hasText: text });
const badge = (within, state) => within.locator(`[data-state="${state}"]`).first();
const fresh = (page, kind) => page.locator(`[data-fresh="${kind}"]`).waitFor();

test("files are kept as long as they are true", async () => {
  const page = await fetch(`${url}/jobs/anything`);
  const text = await page.text();
  assert.equal(page.headers.get("cache-control"), "no-cache");
  const policy = page.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe/);
  const again = await fetch(url, { headers: { "if-none-match": page.headers.get("etag") } });
  assert.equal(again.status, 304);
  let bytes = text.length;
  const names = [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, name]) => name);
  assert.ok(names.length >= 3, text);
  for (const name of names) {
    const file = await fetch(`${url}${name}`, { headers: { "accept-encoding": "gzip" } });
    assert.match(file.headers.get("cache-control"), /max-age=31536000, immutable/);
    assert.equal(file.headers.get("content-encoding"), "gzip");
    bytes += Number(file.headers.get("content-length"));
    const plain = await fetch(`${url}${name}`, { headers: { "accept-encoding": "identity" } });
    assert.equal(await plain.text(), await file.text());
  }
  assert.ok(bytes < 300_000, `${bytes} bytes`);
  console.log(`first load: ${bytes} bytes`);
  for (const path of ["/nothing", "/api/v1/nothing", "/assets/nothing.js", "/graphql/nothing"]) {
    const answer = await fetch(`${url}${path}`);
    assert.equal(answer.status, 404, path);
    assert.equal((await answer.json()).code, "NOT_FOUND", path);
  }
});

test("every view is whole, accessible and quick, in both colours and on a narrow screen", async () => {
  const { jobId } = await submit(failing("for the views"));
  const [{ workerId }] = (await get("/api/v1/workers")).items;
  const views = [
    ["/", "Overview"],
    ["/jobs", "Jobs"],
    [`/jobs/${jobId}`, "for the views"],
    [`/jobs/${jobId}?tab=retries`, "for the views"],
    [`/jobs/${jobId}?tab=history`, "for the views"],
    [`/jobs/${jobId}?tab=document`, "for the views"],
    ["/workers", "Workers"],
    [`/workers/${workerId}`, workerId],
  ];
  for (const [colorScheme, width] of [
    ["light", 1400],
    ["dark", 390],
  ]) {
    const it = await open(browser, "/", { colorScheme, viewport: { width, height: 900 } });
    for (const [path, title] of views) {
      const begun = Date.now();
      await it.page.goto(`${url}${path}`);
      await it.page.getByRole("heading", { level: 1, name: title }).waitFor();
      const took = Date.now() - begun;
      assert.ok(took < 3_000, `${path}: ${took} ms`);
      await fresh(it.page, "live");
      await assertAccessible(it.page, `${path}, ${colorScheme}, ${width}`);
      const wide = await it.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} pixels too wide at ${width}`);
    }
    assert.deepEqual(it.wrong, []);
    await it.close();
  }
});

test("a list of jobs lives, is filtered, sorted and turned over, and its address says so", async () => {
  await Promise.all([0, 1, 2].map((it) => submit(quick(`listed ${it}`))));
  const it = await open(browser, "/jobs");
  const { page } = it;
  await fresh(page, "live");
  const { jobId } = await submit(held("live"));
  await badge(row(page, jobId), "RUNNING").waitFor();
  await kill({ jobId });
  await badge(row(page, jobId), "FAILED").waitFor();

  await page.getByRole("group", { name: "Status" }).getByRole("button", { name: "Completed" }).click();
  await row(page, "listed 0").first().waitFor();
  await row(page, jobId).waitFor({ state: "detached" });
  assert.equal(new URL(page.url()).search, "?status=COMPLETED");
  await page.getByRole("button", { name: "External id" }).click();
  await page.getByRole("button", { name: "External id" }).click();
  await page.locator('th[aria-sort="ascending"]', { hasText: "External id" }).waitFor();
  await page.goto(`${url}/jobs?status=COMPLETED&sort=EXTERNAL_ID&size=1&page=2`);
  await row(page, "listed").first().waitFor();
  const first = await page.locator("tbody tr").textContent();
  await page.getByRole("button", { name: "Next page" }).click();
  await page.waitForFunction((first) => document.querySelector("tbody tr")?.textContent !== first, first);
  assert.match(page.url(), /page=3/);
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("many jobs are killed and tried again, after it is said how many", async () => {
  const jobs = await Promise.all([0, 1, 2].map((it) => submit(held(`bulk ${it}`))));
  const it = await open(browser, "/jobs?status=RUNNING");
  const { page } = it;
  for (const { jobId } of jobs) await page.getByRole("checkbox", { name: jobId }).click();
  const group = page.getByRole("group", { name: "With the chosen jobs" });
  await group.getByRole("button", { name: "Kill", exact: true }).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.getByText("3 jobs will be killed: 6 tasks").waitFor();
  await assertAccessible(page, "the dialog");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal((await get(`/api/v1/jobs/${jobs[0].jobId}`)).status, "RUNNING");

  await group.getByRole("button", { name: "Kill", exact: true }).click();
  await dialog.getByRole("button", { name: "Kill 3 jobs" }).click();
  await page.getByText("Kill: done for 3 jobs.").waitFor();
  for (const { jobId } of jobs) assert.equal((await get(`/api/v1/jobs/${jobId}`)).status, "FAILED");
  await page.goto(`${url}/jobs`);
  for (const { jobId } of jobs) {
    await badge(row(page, jobId), "FAILED").waitFor();
    await page.getByRole("checkbox", { name: jobId }).click();
  }
  await group.getByRole("button", { name: "Retry" }).click();
  await dialog.getByText("6 tasks of 3 jobs").waitFor();
  await dialog.getByRole("button", { name: "Retry 3 jobs" }).click();
  for (const { jobId } of jobs) await badge(row(page, jobId), "RUNNING").waitFor();

  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("combobox", { name: "Export" }).selectOption("csv"),
  ]);
  assert.equal(file.suggestedFilename(), "jobs.csv");
  for (const { jobId } of jobs) await kill({ jobId });
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a job is followed, explained, its retry cancelled, and its history told", async () => {
  const { jobId } = await submit(failing("followed"));
  const it = await open(browser, `/jobs/${jobId}?tab=retries`);
  const { page } = it;
  await page.getByText("Retries (1)").waitFor();
  const retry = row(page, "bad");
  await retry.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("dialog").getByText("The failure of bad becomes final.").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the retry" }).click();
  await badge(page, "FAILED").waitFor();
  await page.locator('[data-counter="failed"] b', { hasText: "1" }).waitFor();
  await page.locator("[data-reason]").waitFor();
  await page.getByRole("link", { name: "History" }).click();
  for (const type of ["JobSubmitted", "JobFinished"]) await row(page, type).waitFor();
  await page.getByRole("link", { name: "Tasks", exact: true }).click();
  await badge(row(page, "bad"), "FAILED").waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("names, lines and messages never become markup", async () => {
  const hostile = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`;
  const script = 'echo "$0"; echo "GRID_FAIL: UNRECOVERABLE $0" >&2; exit 78';
  const task = { externalId: "writes", command: ["sh", "-c", script, hostile] };
  const { jobId } = await submit({ externalId: hostile, labels: { team: hostile }, tasks: [task] });
  const it = await open(browser, "/jobs");
  const { page } = it;
  await badge(row(page, jobId), "FAILED").waitFor();
  await row(page, jobId).getByText(hostile).waitFor();
  const views = {
    [`/jobs/${jobId}`]: page.getByRole("heading", { level: 1, name: hostile }),
    [`/jobs/${jobId}?tab=history`]: row(page, "JobSubmitted"),
    [`/jobs/${jobId}?tab=document`]: page.locator("pre", { hasText: "onerror" }),
    [`/tasks/${jobId.replace("job-", "task-")}-1`]: page.locator('[data-part="failure"]').getByText(hostile),
    [`/tasks/${jobId.replace("job-", "task-")}-1?tab=logs`]: page.locator(".line", { hasText: hostile }),
  };
  for (const [path, seen] of Object.entries(views)) {
    await page.goto(`${url}${path}`);
    await seen.first().waitFor();
    assert.equal(await page.locator("main img, main script").count(), 0, path);
    assert.notEqual(await page.title(), "taken", path);
  }
  await page.keyboard.press("Control+k");
  await page.keyboard.type("<img src");
  await page.getByRole("option", { name: hostile }).first().waitFor();
  assert.equal(await page.locator("dialog img, dialog script").count(), 0);
  // Not even a script of the page itself could make markup of text, or take what stands in it for a script.
  const refused = await page.evaluate((text) => {
    try {
      document.querySelector("main").innerHTML = text;
    } catch (error) {
      return error.name;
    }
    return "nothing";
  }, hostile);
  assert.equal(refused, "TypeError");
  assert.deepEqual(it.wrong.filter((said) => !said.includes("TrustedHTML")), []);
  await it.close();
});

test("lists are gone through, chosen from and opened by the keys alone", async () => {
  const [first, second] = [await submit(held("by keys 1")), await submit(held("by keys 2"))];
  const it = await open(browser, "/jobs");
  const { page } = it;
  for (const { jobId } of [first, second]) await row(page, jobId).waitFor();
  const at = () => page.evaluate(() => document.activeElement?.closest("tr")?.textContent ?? "");
  await page.getByRole("region", { name: "Jobs" }).focus();
  await page.keyboard.press("ArrowDown");
  assert.ok((await at()).includes(second.jobId));
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  assert.ok((await at()).includes(first.jobId));
  await page.getByText("2 chosen", { exact: true }).waitFor();
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "by keys 2" }).waitFor();

  // A dialog takes the focus, keeps it, and gives it back.
  const button = page.getByRole("button", { name: "Kill" });
  await button.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Kill 1 job" }).waitFor();
  for (let press = 0; press < 5; press += 1) {
    await page.keyboard.press("Tab");
    const outside = await page.evaluate(() => document.activeElement?.closest("dialog") === null && document.activeElement !== document.body);
    assert.ok(!outside, "the focus has left the dialog");
  }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Kill");
  for (const job of [first, second]) await kill(job);
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a worker is shown with what it has, cordoned, and let work again", async () => {
  const it = await open(browser, "/workers");
  const { page } = it;
  const [{ workerId, endpointUrl, maxCapacity }] = (await get("/api/v1/workers")).items;
  const worker = row(page, workerId);
  await badge(worker, "ACTIVE").waitFor();
  const text = await worker.textContent();
  assert.ok(text.includes(endpointUrl) && text.includes(`0 / ${maxCapacity}`), text);
  await worker.getByRole("button", { name: "Cordon" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cordon" }).click();
  await badge(worker, "CORDONED").waitFor();
  await worker.getByRole("button", { name: "Uncordon" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Uncordon" }).click();
  await badge(worker, "CORDONED").waitFor({ state: "detached" });
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a lost socket is seen and done without, and what was missed comes when all is back", async (t) => {
  const line = await wire();
  t.after(() => line.close());
  const it = await open(browser, "/jobs", { base: line.base });
  const { page } = it;
  await fresh(page, "live");
  line.cutSockets();
  await fresh(page, "polling");
  const polled = await submit(held("while polling"));
  await badge(row(page, polled.jobId), "RUNNING").waitFor();

  line.cut();
  await fresh(page, "stale");
  await page.getByRole("alert").filter({ hasText: "Grid does not answer" }).waitFor();
  assert.equal(await row(page, polled.jobId).count(), 1, "what was known is still shown");
  await assertAccessible(page, "stale");
  const missed = await submit(quick("missed"));
  await kill(polled);
  line.mend();
  await fresh(page, "live");
  await row(page, missed.jobId).waitFor();
  await badge(row(page, polled.jobId), "FAILED").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
  await it.close();
});
