// A browser on the web page, which must find nothing wrong with it; and a wire to the server that can be cut.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { load, url } from "../modules.mjs";

const { chromium } = load("playwright-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");

/** Milliseconds that anything may take to be seen. */
const PATIENCE = 30_000;

/** A browser of its own, or the one that all files have (run.mjs). */
export async function launch() {
  const shared = process.env.GRID_BROWSER;
  return shared ? chromium.connect(shared) : chromium.launch({ executablePath: process.env.GRID_CHROMIUM });
}

/** A browser for several processes: its address, and how it is closed. */
export async function serveBrowser() {
  const server = await chromium.launchServer({ executablePath: process.env.GRID_CHROMIUM });
  return { address: server.wsEndpoint(), close: () => server.close() };
}

/** Waits until it is so, for so many milliseconds. */
export async function until(is, patience = PATIENCE) {
  const begun = Date.now();
  while (!(await is())) {
    assert.ok(Date.now() - begun < patience, `never: ${is}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Opens a view; gives the page, and what went wrong in it. With `clock`, its time can be moved on. */
export async function open(browser, path, { base = url, clock = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (!/^(data|blob):$/.test(asked.protocol) && asked.host !== new URL(base).host) wrong.push(`elsewhere: ${asked}`);
  });
  page.on("response", (answer) => answer.status() >= 400 && wrong.push(`${answer.url()}: ${answer.status()}`));
  page.on("pageerror", (error) => wrong.push(`${error}`));
  // What the Content-Security-Policy forbids is an error of the console, too.
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  if (clock) await page.clock.install();
  await page.goto(`${base}${path}`);
  return { page, wrong, close: () => context.close() };
}

/** Nothing that WCAG 2.2 AA forbids, as far as axe can tell; `options` are axe's, when not all rules are of use. */
export async function assertAccessible(page, name, options = {}) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const { violations } = await page.evaluate(
    (options) => globalThis.axe.run(document, { resultTypes: ["violations"], ...options }),
    options,
  );
  const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((it) => `${it.html} ${it.failureSummary}`).join("\n  ")}`);
  assert.deepEqual(told, [], name);
}

/**
 * A wire to the server: `cutSockets` takes WebSockets from it, `cut` everything, `mend` gives all back; `hold` keeps what
 * is said over WebSockets from coming there until `release`.
 */
export async function wire() {
  const { hostname, port } = new URL(url);
  const pairs = new Set();
  let [cutAll, cutSockets, holds] = [false, false, false];
  const server = createServer((near) => {
    if (cutAll) return near.destroy();
    const far = connect(Number(port), hostname);
    const pair = { socket: false, held: [], far, end: () => [near, far].forEach((it) => it.destroy()) };
    pairs.add(pair);
    near.on("data", (bytes) => {
      if (/upgrade: websocket/i.test(bytes.toString("latin1"))) {
        pair.socket = true;
        if (cutSockets) pair.end();
      }
      if (pair.socket && holds) pair.held.push(bytes);
      else if (!far.destroyed) far.write(bytes);
    });
    far.on("data", (bytes) => !near.destroyed && near.write(bytes));
    for (const one of [near, far]) {
      one.on("error", pair.end);
      one.on("close", () => {
        pair.end();
        pairs.delete(pair);
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = (which) => [...pairs].filter(which).forEach((it) => it.end());
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    cutSockets() {
      cutSockets = true;
      end(({ socket }) => socket);
    },
    cut() {
      cutAll = true;
      end(() => true);
    },
    hold() {
      holds = true;
    },
    release() {
      holds = false;
      for (const { held, far } of pairs) for (const bytes of held.splice(0)) far.write(bytes);
    },
    mend() {
      [cutAll, cutSockets] = [false, false];
    },
    close() {
      server.close();
      end(() => true);
    },
  };
}
