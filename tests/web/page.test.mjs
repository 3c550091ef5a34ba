// Pages of the server as a person has them: opened in Chromium (GRID_CHROMIUM), which must find nothing wrong with them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { submit } from "./jobs.mjs";
import { load, url } from "./modules.mjs";

const { chromium } = load("playwright-core");
let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.GRID_CHROMIUM });
});
after(() => browser?.close());

/** Opens a page; gives it, what it asked for, and what went wrong in it. */
async function open(path) {
  const page = await browser.newPage();
  const [asked, wrong] = [[], []];
  page.on("request", (request) => asked.push(request.url()));
  page.on("requestfailed", (request) => wrong.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("response", (answer) => answer.status() >= 400 && wrong.push(`${answer.url()}: ${answer.status()}`));
  page.on("pageerror", (error) => wrong.push(`${error}`));
  // What the Content-Security-Policy forbids is an error of the console, too.
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  const answer = await page.goto(`${url}${path}`, { waitUntil: "load" });
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()["content-security-policy"], /default-src 'none'/);
  return { page, asked, wrong };
}

/** Nothing came from anywhere else, and nothing went wrong. */
function assertClean({ asked, wrong }) {
  const elsewhere = asked.filter((it) => !/^(data|blob):/.test(it) && new URL(it).origin !== url);
  assert.deepEqual({ elsewhere, wrong }, { elsewhere: [], wrong: [] });
}

test("what would be wrong is noticed", async () => {
  const it = await open("/graphql");
  await it.page.evaluate(() => {
    const script = document.createElement("script");
    script.src = "http://elsewhere.invalid/script.js";
    document.body.append(script);
    return new Promise((resolve) => script.addEventListener("error", resolve));
  });
  await assert.rejects(async () => assertClean(it));
  assert.match(it.wrong.join("\n"), /Content Security Policy/);
  await it.page.close();
});

test("GraphiQL asks what is written into it", async () => {
  const { jobId } = await submit();
  const it = await open("/graphql");
  const { page } = it;
  await page.waitForSelector(".graphiql-query-editor .CodeMirror");
  const result = (what) =>
    page.waitForFunction(
      (what) => document.querySelector(".result-window .CodeMirror")?.CodeMirror.getValue().includes(what),
      what,
    );
  // It begins with a query that is right.
  await page.click(".graphiql-execute-button");
  await result(jobId);
  assert.match(await page.textContent(".result-window"), /"totalCount": 1/);

  // What is written in, with the names that the schema gives. The page reads it a moment later: until then it would ask
  // a subscription as it asks a query.
  const write = async (text) => {
    await page.evaluate(
      (text) => document.querySelector(".graphiql-query-editor .CodeMirror").CodeMirror.setValue(text),
      text,
    );
    await page.waitForFunction(
      (text) =>
        document.querySelector(".graphiql-query-editor .CodeMirror").CodeMirror.documentAST?.loc?.source.body === text,
      text,
    );
  };
  await write("{ info { name apiVersion } }");
  await page.click(".graphiql-execute-button");
  await result('"apiVersion"');

  // A subscription, until it is stopped.
  await write("subscription { clusterOverview { jobs { total } } }");
  await page.click(".graphiql-execute-button");
  await result('"total": 1');
  await submit();
  await result('"total": 2');
  await page.click(".graphiql-execute-button");

  // What there is, by the documentation in the page.
  await page.click('[aria-label="Show Documentation Explorer"]');
  await page.getByRole("link", { name: "Mutation" }).click();
  await page.getByRole("link", { name: "submitJob" }).waitFor();
  assert.equal(await page.locator(".cm-invalidchar, .CodeMirror-lint-mark-error").count(), 0);
  assert.ok(it.asked.length > 8, it.asked.join("\n"));
  assertClean(it);
  await page.close();
});

test("the description of REST is browsed, and a call is tried from it", async () => {
  const { jobId } = await submit();
  const it = await open("/api/docs");
  const { page } = it;
  const call = page.locator(".opblock-get", { has: page.locator('[data-path="/api/v1/jobs/{id}"]') });
  await call.locator(".opblock-summary-control").click();
  await call.locator(".try-out__btn").click();
  await call.locator('tr[data-param-name="id"] input').fill(jobId);
  await call.locator("button.execute").click();
  const answer = call.locator(".live-responses-table");
  await answer.locator(".response-col_description", { hasText: `"jobId": "${jobId}"` }).first().waitFor();
  assert.match(await answer.locator("tbody .response-col_status").first().textContent(), /^\s*200/);
  assert.equal(await page.locator(".errors-wrapper").count(), 0);
  assertClean(it);
  await page.close();
});
