// The web page on a server that lets nobody in without a token. GRID_TOKENS has one of each role.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open } from "./browser.mjs";
import { failing, held, kill, submit } from "./documents.mjs";

const tokens = JSON.parse(process.env.GRID_TOKENS);
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const heading = (page, name) => page.getByRole("heading", { level: 1, name });
const field = (page) => page.getByLabel("Token");
const row = (page, text) => page.locator("tbody tr", { hasText: text });
const fresh = (page, kind) => page.locator(`[data-fresh="${kind}"]`).waitFor();

async function signIn(page, token) {
  await field(page).fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** What went wrong besides what a refusal is seen by. */
const besides = (wrong) => wrong.filter((it) => !/401|403|WebSocket/.test(it));

test("a token lets in who shows it, is kept in its tab, and is told to this server alone", async () => {
  const it = await open(browser, "/jobs?status=RUNNING");
  const { page } = it;
  await heading(page, "Sign in").waitFor();
  assert.equal(await page.getByText("No job fits").count(), 0);
  await assertAccessible(page, "signing in");
  await page.emulateMedia({ colorScheme: "dark" });
  await assertAccessible(page, "signing in, dark");
  await page.setViewportSize({ width: 390, height: 844 });
  await assertAccessible(page, "signing in, narrow");
  await page.setViewportSize({ width: 1400, height: 900 });
  await signIn(page, `${tokens.viewer.slice(0, 22)}${"0".repeat(64)}`);
  await page.getByRole("alert").waitFor();
  await assertAccessible(page, "a token that is refused");

  const asked = [];
  const told = [];
  page.on("request", (request) => asked.push(request));
  page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => told.push(payload)));
  await signIn(page, tokens.viewer);
  await heading(page, "Jobs").waitFor();
  await fresh(page, "live");
  assert.equal(new URL(page.url()).search, "?status=RUNNING", "where one wanted to go");
  await page.getByText("a-viewer").waitFor();
  const questions = asked.filter((it) => it.url().endsWith("/graphql") && it.method() === "POST");
  assert.ok(questions.length > 0);
  for (const it of questions) assert.equal(it.headers().authorization, `Bearer ${tokens.viewer}`);
  assert.ok(told.some((it) => it.includes("connection_init") && it.includes(tokens.viewer)), told.join("\n"));

  // What comes by itself comes to who is signed in.
  const { jobId } = await submit(held("while signed in"), tokens.operator);
  await row(page, jobId).waitFor();
  await kill({ jobId }, tokens.operator);
  await row(page, jobId).waitFor({ state: "detached" });
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("combobox", { name: "Export" }).selectOption("ndjson"),
  ]);
  assert.equal(file.suggestedFilename(), "jobs.ndjson");

  const [local, cookies] = await Promise.all([page.evaluate(() => JSON.stringify(localStorage)), page.context().cookies()]);
  assert.ok(!local.includes("grid_") && cookies.length === 0 && !page.url().includes("grid_"));
  await page.reload();
  await heading(page, "Jobs").waitFor();
  const other = await page.context().newPage();
  await other.goto(`${url}/jobs`);
  await heading(other, "Sign in").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await heading(page, "Sign in").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(besides(it.wrong), []);
  await it.close();
});

test("what a role may not do is not offered", async () => {
  const [{ jobId }, failed] = [await submit(held("to be looked at"), tokens.operator), await submit(failing("to be tried again"), tokens.operator)];
  const offered = async (role) => {
    const it = await open(browser, `/jobs/${jobId}`);
    const { page } = it;
    await signIn(page, tokens[role]);
    await heading(page, "to be looked at").waitFor();
    await page.getByText(`a-${role}`).waitFor();
    const buttons = (name) => page.getByRole("button", { name, exact: true }).count();
    const found = { kill: await buttons("Kill"), stop: await buttons("Stop"), retry: await buttons("Retry") };
    found.submit = await page.getByRole("link", { name: "Submit", exact: true }).count();
    await page.getByRole("link", { name: "Document" }).click();
    await page.locator("pre", { hasText: "to be looked at" }).waitFor();
    found.resubmit = await page.getByRole("link", { name: "Submit it changed" }).count();
    await page.goto(`${url}/jobs/${failed.jobId}?tab=retries`);
    await row(page, "bad").waitFor();
    await page.getByText(`a-${role}`).waitFor();
    [found.now, found.cancel] = [await buttons("Now"), await buttons("Cancel")];
    await page.getByRole("link", { name: "Jobs", exact: true }).click();
    await row(page, jobId).waitFor();
    found.choose = await page.getByRole("checkbox").count();
    found.killMany = await page.getByRole("button", { name: /Kill/ }).count();
    // What everybody may.
    assert.equal(await page.getByRole("combobox", { name: "Export" }).count(), 1);
    await page.goto(`${url}/workers`);
    await page.locator("tbody tr").first().waitFor();
    await page.getByText(`a-${role}`).waitFor();
    [found.cordon, found.drain] = [await buttons("Cordon"), await buttons("Drain")];
    await page.goto(`${url}/submit`);
    const editor = page.getByRole("textbox", { name: "Job document" });
    await page.getByText("needs the role operator").or(editor).waitFor();
    if ((await editor.count()) === 0) await assertAccessible(page, "what may not be done");
    found.editor = await editor.count();
    assert.deepEqual(besides(it.wrong), []);
    await it.close();
    return found;
  };
  const [viewer, operator] = await Promise.all([offered("viewer"), offered("operator")]);
  assert.deepEqual(Object.entries(viewer).filter(([, count]) => count > 0), []);
  assert.deepEqual(Object.entries(operator).filter(([, count]) => count === 0), []);
  for (const it of [{ jobId }, failed]) await kill(it, tokens.operator);
});

test("who is signed in with a token that is revoked has to show another", async () => {
  const it = await open(browser, "/workers");
  const { page } = it;
  await signIn(page, tokens.revoked);
  await heading(page, "Workers").waitFor();
  await fresh(page, "live");
  const answer = await fetch(`${url}/api/v1/tokens/${tokens.revoked.slice(5, 21)}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${tokens.admin}` },
  });
  assert.ok(answer.ok, `${answer.status}`);
  await heading(page, "Sign in").waitFor();
  await page.getByRole("alert").filter({ hasText: "revoked" }).waitFor();
  await signIn(page, tokens.viewer);
  await heading(page, "Workers").waitFor();
  await fresh(page, "live");
  assert.deepEqual(besides(it.wrong), []);
  await it.close();
});
