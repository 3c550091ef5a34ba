// Workers that are not heard, in the web page. The server has `worker-lost`, which was given up a moment ago, `worker-old`,
// of which that is long ago, and `worker-left`, which said goodbye.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { url } from "../modules.mjs";
import { assertAccessible, launch, open } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("one that does not respond is told of, one that said goodbye is not", async () => {
  const it = await open(browser, "/");
  const { page } = it;
  const attention = page.getByRole("region", { name: "Needs attention" });
  await attention.getByText("1 worker does not respond").waitFor();
  await attention.getByText("worker-lost").waitFor();
  assert.doesNotMatch(await attention.textContent(), /worker-(left|old)/);
  await attention.getByRole("link", { name: "1 worker does not respond" }).click();
  const alert = page.getByRole("alert");
  await alert.getByText("A worker does not respond").waitFor();
  assert.equal(new URL(page.url()).search, "?state=INACTIVE");
  const row = (name) => page.locator("tbody tr", { hasText: name });
  await row("worker-lost").locator('[data-state="LOST"]').waitFor();
  await row("worker-left").locator('[data-state="DRAINED"]').waitFor();
  await assertAccessible(page, "lost workers");
  await page.emulateMedia({ colorScheme: "dark" });
  await assertAccessible(page, "lost workers, dark");
  // Page by page, of the size that is wanted.
  await page.goto(`${url}/workers?size=2&sort=WORKER_ID`);
  await page.getByText("1–2 of 3 workers").waitFor();
  await page.getByRole("button", { name: "Next page" }).click();
  await page.getByText("3–3 of 3 workers").waitFor();
  await row("worker-old").waitFor();
  // It is told of whichever rows are shown.
  await page.goto(`${url}/workers?state=ACTIVE`);
  await alert.getByRole("link", { name: "worker-lost" }).click();
  await page.getByRole("heading", { level: 1, name: "worker-lost" }).waitFor();
  assert.deepEqual(it.wrong, []);
  await it.close();
});
