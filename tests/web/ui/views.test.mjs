// The web page as a person has it, in Chromium on a real standalone (GRID_URL).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { launch, open } from "./browser.mjs";
import { failing, get, held, kill, labelled, list, quick, submit } from "./documents.mjs";
import { backup, invoices, nothing, reports, training } from "./scenes.mjs";

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

test("a list of jobs lives, is filtered, sorted and turned over, and its address says so", async () => {
  await Promise.all([0, 1, 2].map((it) => submit(labelled(quick(`listed ${it}`), "list"))));
  const it = await open(browser, list("list"));
  const { page } = it;
  await fresh(page, "live");
  const { jobId } = await submit(labelled(held("live"), "list"));
  await badge(row(page, jobId), "RUNNING").waitFor();
  // What each column says is what the server says.
  const { externalId, taskCounters } = await get(`/api/v1/jobs/${jobId}`);
  const cells = await row(page, jobId).locator("td").allTextContents();
  assert.deepEqual(cells.slice(1, 3), [jobId, externalId]);
  assert.deepEqual(cells.slice(4, 9).map(Number), ["ready", "scheduled", "running", "completed", "failed"].map((it) => taskCounters[it]));
  const created = row(page, jobId).locator("time").first();
  assert.match(await created.getAttribute("title"), / UTC$/);
  await kill({ jobId });
  await badge(row(page, jobId), "FAILED").waitFor();

  await page.getByRole("group", { name: "Status" }).getByRole("button", { name: "Completed" }).click();
  await row(page, "listed 0").first().waitFor();
  await row(page, jobId).waitFor({ state: "detached" });
  assert.ok(page.url().endsWith(list("list", "&status=COMPLETED")));
  await page.getByRole("button", { name: "External id" }).click();
  await page.getByRole("button", { name: "External id" }).click();
  await page.locator('th[aria-sort="ascending"]', { hasText: "External id" }).waitFor();
  await page.goto(`${url}${list("list", "&status=COMPLETED&sort=EXTERNAL_ID&size=1&page=2")}`);
  await row(page, "listed 1").waitFor();
  await page.getByRole("button", { name: "Next page" }).click();
  await row(page, "listed 2").waitFor();
  assert.match(page.url(), /page=3/);
  assert.equal(await page.getByRole("button", { name: "Next page" }).isDisabled(), true);
  await page.getByRole("combobox", { name: "Rows" }).selectOption("50");
  await page.getByText("1–3 of 3 jobs").waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("each status has a colour, a sign and a word of its own", async () => {
  const colours = { COMPLETED: "green", RUNNING: "blue", FAILED: "red", TIMEOUT: "orange", MIXED: "yellow", EMPTY: "gray" };
  const documents = [quick("completes", 1), training, invoices, backup, reports, nothing];
  const jobs = await Promise.all(documents.map((it) => submit(labelled(it, "status"))));
  const it = await open(browser, list("status"));
  const { page } = it;
  const signs = new Set();
  for (const [at, [status, hue]] of Object.entries(colours).entries()) {
    const its = badge(row(page, jobs[at].jobId), status);
    await its.waitFor();
    assert.match(await its.getAttribute("class"), new RegExp(`\\b${hue}$`));
    const [sign, word] = [await its.locator("[aria-hidden]").textContent(), (await its.textContent()).slice(1)];
    assert.equal(word, status);
    signs.add(sign);
  }
  assert.equal(signs.size, 6);
  await kill(jobs[1]);
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("many jobs are killed and tried again, after it is said how many, and kept as a file", async () => {
  const jobs = await Promise.all([0, 1, 2].map((it) => submit(labelled(held(`bulk ${it}`), "bulk"))));
  const it = await open(browser, list("bulk", "&status=RUNNING"));
  const { page } = it;
  for (const { jobId } of jobs) await page.getByRole("checkbox", { name: jobId }).click();
  const group = page.getByRole("group", { name: "With the chosen jobs" });
  await group.getByRole("button", { name: "Kill", exact: true }).press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.getByText("3 jobs will be killed: 6 tasks").waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal((await get(`/api/v1/jobs/${jobs[0].jobId}`)).status, "RUNNING");

  const kept = async (choice) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("combobox", { name: "Export" }).selectOption(choice)]);
    const parts = await (await file.createReadStream()).toArray();
    return { name: file.suggestedFilename(), text: Buffer.concat(parts).toString() };
  };
  // Of those that are chosen; else of all that fit.
  await page.getByRole("checkbox", { name: jobs[2].jobId }).click();
  const chosen = await kept("json");
  assert.equal(chosen.name, "jobs.json");
  const ids = (of) => of.map(({ jobId }) => jobId).toSorted();
  assert.deepEqual(ids(JSON.parse(chosen.text)), ids(jobs.slice(0, 2)));
  const all = await kept("csv");
  assert.equal(all.name, "jobs.csv");
  const [head, ...lines] = all.text.trim().split("\n");
  assert.match(head, /jobId/);
  assert.equal(lines.length, 3, all.text);
  for (const { jobId } of jobs) assert.ok(lines.some((line) => line.includes(jobId)));
  await page.getByRole("checkbox", { name: jobs[2].jobId }).click();

  await group.getByRole("button", { name: "Kill", exact: true }).click();
  await dialog.getByRole("button", { name: "Kill 3 jobs" }).click();
  await page.getByText("Kill: done for 3 jobs.").waitFor();
  for (const { jobId } of jobs) assert.equal((await get(`/api/v1/jobs/${jobId}`)).status, "FAILED");
  await page.goto(`${url}${list("bulk")}`);
  for (const { jobId } of jobs) {
    await badge(row(page, jobId), "FAILED").waitFor();
    await page.getByRole("checkbox", { name: jobId }).click();
  }
  await group.getByRole("button", { name: "Retry" }).click();
  await dialog.getByText("6 tasks of 3 jobs").waitFor();
  await dialog.getByRole("button", { name: "Retry 3 jobs" }).click();
  for (const { jobId } of jobs) await badge(row(page, jobId), "RUNNING").waitFor();

  // All that a filter lets through, more than the page has.
  await page.goto(`${url}${list("bulk", "&status=RUNNING&size=2")}`);
  await page.getByRole("button", { name: "Kill all 3" }).click();
  await dialog.getByText("3 jobs will be killed: 6 tasks").waitFor();
  await dialog.getByRole("button", { name: "Kill 3 jobs" }).click();
  await page.getByText("No job fits.").waitFor();
  for (const { jobId } of jobs) assert.equal((await get(`/api/v1/jobs/${jobId}`)).status, "FAILED");
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("a job is followed, explained, its retry cancelled, and its history told", async () => {
  const { jobId } = await submit(failing("followed"));
  const it = await open(browser, `/jobs/${jobId}?tab=retries`);
  const { page } = it;
  await page.getByText("Retries (1)").waitFor();
  const retry = row(page, "bad");
  await retry.getByText("1 of 2").waitFor();
  await retry.getByRole("button", { name: "Now" }).click();
  await page.getByRole("dialog").getByText("bad is tried again at once.").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Retry now" }).click();
  await retry.getByText("2 of 2").waitFor();
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

test("a job that runs says how quickly, and when it may be over", async () => {
  const task = { externalId: "sleeps", replicas: 24, command: ["sleep", "0.4"] };
  const { jobId } = await submit({ externalId: "takes a while", tasks: [task] });
  const it = await open(browser, `/jobs/${jobId}`);
  const { page } = it;
  await page.getByText(/of 24 tasks have ended · [0-9.]+ a second · about .* to go$/).waitFor();
  await page.getByText(/^24 of 24 tasks have ended · took [0-9.]+ s$/).waitFor();
  await page.getByRole("img", { name: "24 of 24 tasks have ended" }).waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});

test("the overview says what needs attention, with the way there", async () => {
  const failed = await submit({ externalId: "fails for good", tasks: [{ externalId: "bad", command: ["false"], retry: { maxRetries: 0 } }] });
  const it = await open(browser, "/", { clock: true });
  const { page } = it;
  const attention = page.getByRole("region", { name: "Needs attention" });
  await attention.waitFor();
  const { jobId } = await submit(labelled(held("grows", 20), "grows"));
  await page.clock.fastForward(5_000);
  await attention.getByText("The queue grows").waitFor();
  await attention.getByRole("link", { name: /jobs? failed$/ }).click();
  await row(page, failed.jobId).waitFor();
  assert.match(page.url(), /status=FAILED/);
  await kill({ jobId });
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

/** Presses a key until the focus is where it is wanted. */
async function reach(page, key, name) {
  const at = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent);
  for (let press = 0; press < 40 && (await at()) !== name; press += 1) await page.keyboard.press(key);
  assert.equal(await at(), name);
}

test("by the keys alone one goes through a list, kills what is chosen, and goes on from there", async () => {
  const jobs = [];
  for (const it of [1, 2, 3]) jobs.push(await submit(labelled(held(`by keys ${it}`), "keys")));
  const [first, second, third] = jobs;
  const it = await open(browser, list("keys"));
  const { page } = it;
  for (const { jobId } of jobs) await row(page, jobId).waitFor();
  const at = () => page.evaluate(() => document.activeElement?.closest("tr")?.textContent ?? "");
  // From the beginning of the page, as the keys have it.
  await reach(page, "Tab", "Jobs");
  await page.keyboard.press("Tab");
  await reach(page, "Tab", "Jobs");
  await page.keyboard.press("ArrowDown");
  assert.ok((await at()).includes(third.jobId));
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  assert.ok((await at()).includes(second.jobId));
  await page.getByText("2 chosen", { exact: true }).waitFor();

  // A dialog takes the focus, keeps it, and gives it back.
  const dialog = page.getByRole("dialog");
  const outside = () => page.evaluate(() => document.activeElement?.closest("dialog") === null && document.activeElement !== document.body);
  await reach(page, "Shift+Tab", "Kill");
  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Kill 2 jobs" }).waitFor();
  for (let press = 0; press < 5; press += 1) {
    await page.keyboard.press("Tab");
    assert.ok(!(await outside()), "the focus has left the dialog");
  }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Kill");
  await page.keyboard.press("Enter");
  await reach(page, "Tab", "Kill 2 jobs");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  for (const { jobId } of [second, third]) await badge(row(page, jobId), "FAILED").waitFor();
  // Nothing is chosen any more, so that there is nothing to kill: one goes on in the view.
  await page.waitForFunction(() => document.activeElement?.id === "main");
  await reach(page, "Tab", "Jobs");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  assert.ok((await at()).includes(first.jobId));
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "by keys 1" }).waitFor();
  await page.goBack();
  await row(page, first.jobId).waitFor();
  await kill(first);
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
  assert.ok(text.includes(endpointUrl) && new RegExp(`[0-9]+ / ${maxCapacity}`).test(text), text);
  await worker.getByRole("img", { name: `of ${maxCapacity} slots are taken` }).waitFor();
  // When it was heard last, registered and created.
  assert.equal(await worker.locator("time").count(), 3);
  await worker.getByRole("button", { name: "Cordon" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cordon" }).click();
  await badge(worker, "CORDONED").waitFor();
  await worker.getByRole("button", { name: "Uncordon" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Uncordon" }).click();
  await badge(worker, "CORDONED").waitFor({ state: "detached" });
  assert.deepEqual(it.wrong, []);
  await it.close();
});

