// Writes the dashboards and the alert rules. `files()` is what it writes, name to text: the tests compare.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { ruleFile } from "./alerts.mjs";
import cluster from "./boards/cluster.mjs";
import job from "./boards/job.mjs";
import system from "./boards/system.mjs";
import task from "./boards/task.mjs";
import { inRepository } from "./modules.mjs";

const BOARDS = { "cluster-overview": cluster, "job-monitoring": job, "task-details": task, "system-health": system };

export function files() {
  const made = Object.entries(BOARDS).map(([name, make]) => [name, make()]);
  const dashboards = made.map(([name, board]) => [
    `docker/grafana/dashboards/${name}.json`,
    `${JSON.stringify(board, null, 2)}\n`,
  ]);
  const rules = ruleFile((uid, title) => {
    const board = made.map(([, board]) => board).find((board) => board.uid === uid);
    const panel = board.panels.find((panel) => panel.title === title);
    if (!panel) throw new Error(`${uid} has no panel "${title}"`);
    return panel.id;
  });
  return new Map([...dashboards, ["docker/grafana/provisioning/alerting/rules.yaml", rules]]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of files()) {
    mkdirSync(dirname(inRepository(name)), { recursive: true });
    writeFileSync(inRepository(name), text);
  }
}
