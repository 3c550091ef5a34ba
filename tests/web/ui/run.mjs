// Runs the files that are named, tests of one server, side by side, with one browser for all.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { serveBrowser } from "./browser.mjs";

/** Files at a time: while one waits, another has the processors. */
const TOGETHER = 3;

const here = dirname(fileURLToPath(import.meta.url));
const files = process.argv.slice(2).map((it) => join(here, `${it}.test.mjs`));
const browser = await serveBrowser();
const how = ["--test", "--test-reporter=tap", "--test-timeout=280000", `--test-concurrency=${TOGETHER}`];
const tests = spawn(process.execPath, [...how, ...files], { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, GRID_BROWSER: browser.address } });
const [code] = await once(tests, "exit");
await browser.close();
process.exit(code ?? 1);
