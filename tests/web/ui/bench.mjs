// How quick the web page is, in Chromium, on a server that has many jobs (scripts/bench-ui.sh fills one). Prints figures in
// JSON, a line each (only of those that are named, such as frameMs); those beyond their bounds end it with 1.
import { launch, until } from "./browser.mjs";
import { get, submit } from "./documents.mjs";
import { url } from "../modules.mjs";

/** Lines of the task whose log is turned over, and for how many milliseconds. */
const LINES = 100_000;
const TURNED = 10_000;
const ROUNDS = 10;
/** Milliseconds that may be taken, at the 95th percentile. */
const BOUNDS = { firstViewMs: 1_000, page200Ms: 300, page200ByAddressMs: 1_000, frameMs: 33 };

const quantile = (taken, part) => taken.toSorted((a, b) => a - b)[Math.min(taken.length - 1, Math.floor(taken.length * part))];
const rounded = (number) => Math.round(number * 10) / 10;
const told = (taken) => ({ p50: rounded(quantile(taken, 0.5)), p95: rounded(quantile(taken, 0.95)), most: rounded(Math.max(...taken)) });

async function repeated(rounds, measure) {
  const taken = [];
  for (let round = 0; round < rounds; round += 1) taken.push(await measure(round));
  return told(taken);
}

/** From the question for an address to its rows in sight, with nothing in the browser's cache. */
async function opened(browser, path, shown) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  // The page itself looks at each frame, so that the way to this process is not measured.
  await page.addInitScript((shown) => {
    const look = () => {
      if (document.querySelector(shown)) requestAnimationFrame(() => (globalThis.seenAt = performance.now()));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, shown);
  await page.goto(`${url}${path}`, { waitUntil: "commit" });
  const taken = await page.waitForFunction(() => globalThis.seenAt).then((it) => it.jsonValue());
  await context.close();
  return taken;
}

/** From the click on a button of the pager to the frame that shows the other rows. */
async function turned(page, button) {
  // The page before is whole, and rests.
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 500);
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 50))));
  return page.evaluate(async (button) => {
    const text = () => document.querySelector("tbody tr")?.textContent;
    const before = text();
    const begun = performance.now();
    document.querySelector(`button[aria-label="${button}"]`).click();
    for (;;) {
      await new Promise(requestAnimationFrame);
      if (text() !== before && document.querySelector("[aria-busy=true]") === null) break;
    }
    await new Promise(requestAnimationFrame);
    return performance.now() - begun;
  }, button);
}

/** Milliseconds between frames while a list of lines is turned for so long, up and down through all of it. */
async function frames(page, milliseconds) {
  return page.evaluate(async (milliseconds) => {
    const box = document.querySelector(".lines");
    const taken = [];
    const begun = performance.now();
    let last = begun;
    let down = false;
    while (last - begun < milliseconds) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      taken.push(now - last);
      last = now;
      const end = box.scrollHeight - box.clientHeight;
      if (box.scrollTop <= 4_000) down = true;
      if (box.scrollTop >= end - 4_000) down = false;
      box.scrollTop += down ? 2_500 : -2_500;
    }
    return taken;
  }, milliseconds);
}

/** A task that writes lines, all of which are loaded into its viewer and turned over. */
async function linesTurned(browser) {
  const script = `i=0; while [ $i -lt ${LINES / 1_000} ]; do i=$((i+1)); seq -f 'line %g of a thousand' 1 1000; sleep 0.2; done; echo that is all`;
  const { jobId } = await submit({ tasks: [{ externalId: "writes", command: ["sh", "-c", script] }] });
  await until(async () => (await get(`/api/v1/logs/search?job_id=${jobId}&limit=1`)).lines[0]?.message === "that is all", 300_000);
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  await page.goto(`${url}/tasks/${jobId.replace("job-", "task-")}-1?tab=logs`);
  const count = () => page.locator(".lines").getAttribute("data-count").then(Number);
  await until(async () => (await count()) > 0);
  while ((await count()) < LINES) {
    const before = await count();
    await page.getByRole("button", { name: "Load earlier ones" }).click();
    await until(async () => (await count()) > before);
  }
  const taken = await frames(page, TURNED);
  const lines = await count();
  await page.close();
  return { lines, frames: taken.length, ...told(taken) };
}

const browser = await launch();
const { total } = await get("/api/v1/jobs?size=1");
// With 100,000 jobs the 200th, of 500 rows.
const last = Math.min(200, Math.floor(total / 500));
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
await page.goto(`${url}/jobs?size=500&page=${last - 1}`);
await page.locator("tbody tr").first().waitFor();
const measurements = {
  firstViewMs: () => repeated(ROUNDS, () => opened(browser, "/", "[aria-label='Needs attention']")),
  // There and back: every second one counts.
  page200Ms: () =>
    repeated(ROUNDS, async () => {
      const taken = await turned(page, "Next page");
      await turned(page, "Previous page");
      return taken;
    }),
  page200ByAddressMs: () => repeated(ROUNDS, () => opened(browser, `/jobs?size=500&page=${last}`, "tbody tr")),
  frameMs: () => linesTurned(browser),
};
const beyond = [];
console.log(JSON.stringify({ jobs: total }));
for (const [name, measure] of Object.entries(measurements)) {
  if (process.argv.length > 2 && !process.argv.includes(name)) continue;
  const figures = await measure();
  console.log(JSON.stringify({ [name]: figures }));
  if (figures.p95 > BOUNDS[name]) beyond.push(`${name}: p95 ${figures.p95} is more than ${BOUNDS[name]}`);
}
await browser.close();
for (const it of beyond) console.error(it);
process.exit(beyond.length > 0 ? 1 : 0);
