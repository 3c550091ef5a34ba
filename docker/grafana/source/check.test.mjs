// What is committed: is it what the sources make, does it fit Grafana's types, and does all it names exist?
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { faultsOf, faultsOfRules, variablesIn } from "./faults.mjs";
import { files } from "./generate.mjs";
import { inRepository, modules, YAML } from "./modules.mjs";
import { readTable } from "./table.mjs";

const read = (name) => readFileSync(inRepository(name), "utf8");
const names = readdirSync(inRepository("docker/grafana/dashboards"));
const boards = names.map((name) => JSON.parse(read(`docker/grafana/dashboards/${name}`)));
const inProvisioning = (name) => YAML.parse(read(`docker/grafana/provisioning/${name}`));
const sources = inProvisioning("datasources/grid.yaml").datasources;
const rules = inProvisioning("alerting/rules.yaml").groups.flatMap((group) => group.rules);
const known = {
  table: readTable(),
  boards,
  sources: new Map(sources.map((source) => [source.uid, source.type])),
  paths: [
    ...Object.keys(JSON.parse(read("schema/openapi.json")).paths),
    ...[...read("src/ui/mod.rs").split("PAGES")[1].split("]")[1].matchAll(/"(\/[^"]*)"/g)].map(([, path]) => path),
  ],
  sections: new Set([...read("docs/runbook.md").matchAll(/^## (.+)$/gm)].map((found) => found[1])),
};

test("the committed files are what the sources make", () => {
  const made = files();
  for (const [name, text] of made) {
    assert.equal(read(name), text, `${name} is not: scripts/grafana.sh write`);
  }
  const dashboards = [...made.keys()].filter((name) => name.includes("/dashboards/"));
  assert.equal(dashboards.length, 4);
  assert.deepEqual(names.map((name) => `docker/grafana/dashboards/${name}`).sort(), dashboards.sort());
});

test("the dashboards are the four that were promised", () => {
  const titles = boards.map((board) => board.title).sort();
  assert.deepEqual(titles, ["Cluster Overview", "Job Monitoring", "System Health", "Task Details"]);
});

test("everything that dashboards name exists", () => {
  assert.deepEqual(boards.flatMap((board) => faultsOf(board, known)), []);
});

test("everything that rules name exists", () => {
  assert.deepEqual(faultsOfRules(rules, known), []);
  const wanted = ["disk", "drops", "failure-rate", "lag", "no-capacity", "restarts", "retry-storm", "silent-worker"];
  wanted.push("slow-commits", "stuck-task");
  assert.deepEqual(rules.map((rule) => rule.uid.replace("grid-", "")).sort(), wanted);
});

test("a panel that an alert is about shows where the rule strikes, if it has the same unit", () => {
  const shown = ["grid-disk", "grid-lag", "grid-retry-storm", "grid-slow-commits"].map((uid) => {
    const rule = rules.find((rule) => rule.uid === uid);
    const { __dashboardUid__: board, __panelId__: id, description } = rule.annotations;
    assert.ok(description, uid);
    const panel = boards.find(({ uid }) => uid === board).panels.find((panel) => String(panel.id) === id);
    const [limit] = rule.data[2].model.conditions[0].evaluator.params;
    return panel.fieldConfig.defaults.thresholds.steps.some(({ value }) => value === limit);
  });
  assert.deepEqual(shown, [true, true, true, true]);
});

test("a section of the runbook belongs to each rule, and says what to look at and do", () => {
  const runbook = read("docs/runbook.md").split(/^## /m).slice(1);
  const uids = new Set(rules.map((rule) => rule.uid));
  for (const section of runbook) {
    const [name] = section.split("\n");
    assert.ok(uids.has(`grid-${name}`), `${name}: no rule is called that`);
    for (const part of ["**Means**", "**Look**", "**Do**"]) {
      assert.ok(section.includes(part), `${name}: no ${part}`);
    }
  }
});

test("uids are unique", () => {
  const all = [...boards, ...sources, ...rules].map((one) => one.uid);
  assert.equal(new Set(all).size, all.length, `${all}`);
});

test("the data sources are those that were promised, and hold no secret", () => {
  const found = sources.map(({ name, type, url }) => ({ name, type, url }));
  assert.deepEqual(found, [
    { name: "InfluxDB", type: "influxdb", url: "http://grid-influxdb:8086" },
    { name: "VictoriaLogs", type: "victoriametrics-logs-datasource", url: "http://grid-victorialogs:9428" },
  ]);
  const points = inProvisioning("alerting/contact-points.yaml").contactPoints;
  const secrets = [
    ...sources.flatMap((source) => Object.values(source.secureJsonData ?? {})),
    ...points.flatMap((point) =>
      point.receivers.map(({ settings }) => settings.integrationKey ?? settings.url ?? settings.addresses),
    ),
  ];
  assert.equal(secrets.length, 5);
  secrets.forEach((secret) => assert.match(secret, /^\$GRID_[A-Z_]+$/));
});

test("panels of lines have the fields that the plugin reads", () => {
  const targets = boards
    .flatMap((board) => board.panels.flatMap((panel) => panel.targets ?? []))
    .filter((target) => target.datasource.type === "victoriametrics-logs-datasource");
  assert.equal(targets.length, 4);
  for (const { refId, datasource, expr, maxLines, ...rest } of targets) {
    assert.equal(refId, "A");
    assert.equal(datasource.uid, "grid-victorialogs");
    assert.ok(expr.length > 0 && Number.isInteger(maxLines) && maxLines > 0);
    // A list of lines; as text, which the plugin's builder cannot take apart.
    assert.deepEqual(rest, { editorMode: "code", queryType: "instant" });
  }
});

test("every policy has a contact point and mute timings that exist, and takes every severity", () => {
  const points = inProvisioning("alerting/contact-points.yaml").contactPoints;
  const types = points.flatMap((point) => point.receivers.map((receiver) => receiver.type));
  assert.deepEqual([...new Set(types)].sort(), ["email", "pagerduty", "slack"]);
  const mutes = inProvisioning("alerting/mute-timings.yaml").muteTimes.map((mute) => mute.name);
  const [root] = inProvisioning("alerting/policies.yaml").policies;
  for (const policy of [root, ...root.routes]) {
    assert.ok(points.some((point) => point.name === policy.receiver), `${policy.receiver}: no such contact point`);
    assert.ok(policy.group_by.includes("alertname"));
    for (const mute of policy.mute_time_intervals ?? []) {
      assert.ok(mutes.includes(mute), `${mute}: no such mute timing`);
    }
  }
  const taken = root.routes.flatMap((route) => route.object_matchers.filter(([label]) => label === "severity"));
  const severities = new Set(taken.map(([, , value]) => value));
  rules.forEach((rule) => assert.ok(severities.has(rule.labels.severity), `${rule.uid}: ${rule.labels.severity}`));
});

/** Grafana's own types, where an enum's member may be its plain value, as JSON has it. */
const TYPES = `
import type { Dashboard, Panel } from "./node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen";
import type { Options as logs } from "./node_modules/@grafana/schema/dist/types/raw/composable/logs/panelcfg/x/types.gen";
import type { Options as stat } from "./node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type { Options as table } from "./node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type { FieldConfig as tableField } from "./node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type { Options as timeseries } from "./node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";
import type { FieldConfig as timeseriesField } from "./node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";
import type { Query, Rule } from "@grafana/grafana-foundation-sdk/alerting";
type Json<T> = T extends string ? \`\${T}\` : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
`;

function fits(boards, rules) {
  const parts = [TYPES];
  boards.forEach((board, at) => {
    parts.push(`export const board${at}: Json<Dashboard> = ${JSON.stringify(board)};`);
    for (const panel of board.panels.filter((panel) => panel.type !== "row")) {
      const label = `options${at}_${panel.id}`;
      parts.push(`export const ${label}: Json<Partial<${panel.type}>> = ${JSON.stringify(panel.options)};`);
      if (panel.type === "timeseries" || panel.type === "table") {
        const custom = JSON.stringify(panel.fieldConfig.defaults.custom);
        parts.push(`export const ${label}_field: Json<Partial<${panel.type}Field>> = ${custom};`);
      }
    }
  });
  // A rule's model is whatever the data source takes.
  const data = 'data: (Omit<Query, "model"> & { model: unknown })[]';
  const rule = `Json<Omit<Rule, "folderUID" | "ruleGroup" | "orgID" | "data">> & { ${data} }`;
  rules.forEach((one, at) => parts.push(`export const rule${at}: ${rule} = ${JSON.stringify(one)};`));
  const folder = mkdtempSync(join(tmpdir(), "grid-grafana-"));
  try {
    symlinkSync(join(modules, "node_modules"), join(folder, "node_modules"));
    writeFileSync(join(folder, "boards.ts"), parts.join("\n"));
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext"];
    const tsc = join(modules, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [tsc, ...options, "--moduleResolution", "bundler", "boards.ts"], { cwd: folder });
    return "";
  } catch (error) {
    return `${error.stdout}` || `${error}`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("dashboards and rules fit Grafana's own types, and what does not is seen", () => {
  assert.equal(fits(boards, rules), "");
  const changed = (change) => {
    const board = structuredClone(boards[0]);
    change(board);
    return fits([board], []);
  };
  const panelOf = (board, type) => board.panels.find((panel) => panel.type === type);
  assert.match(changed((board) => (board.titel = "typo")), /titel/);
  assert.match(changed((board) => (board.refresh = 30)), /number/);
  assert.match(changed((board) => (panelOf(board, "timeseries").options.legend.placement = "left")), /left/);
  assert.match(changed((board) => (panelOf(board, "timeseries").fieldConfig.defaults.custom.lineWidht = 1)), /lineWidht/);
  assert.match(changed((board) => (panelOf(board, "stat").gridPos = { x: 0, y: 0, w: 4 })), /'h'/);
});

test("what is wrong in a dashboard is seen", () => {
  const wrong = (change) => {
    const board = structuredClone(boards.find((board) => board.uid === "grid-job"));
    change(board);
    return faultsOf(board, known).join("\n");
  };
  const panel = (board) => board.panels.find((panel) => panel.type === "timeseries");
  const swap = (from, to) => (board) => {
    const [target] = panel(board).targets;
    assert.ok(target.query.includes(from), target.query);
    target.query = target.query.replace(from, to);
  };
  assert.match(wrong(swap("tasks_ready", "tasks_wating")), /tasks_wating/);
  assert.match(wrong(swap('"job_metrics"', '"task_metrics"')), /tasks_ready is of job_metrics/);
  assert.match(wrong(swap("r.job_id", "r.task_id")), /task_id is no tag/);
  assert.match(wrong(swap("${job:regex}", "${jbo:regex}")), /\$\{jbo\}/);
  assert.match(wrong((board) => (panel(board).datasource.uid = "influx")), /influx/);
  assert.match(wrong((board) => (panel(board).id = 1)), /twice/);
  assert.match(wrong((board) => delete panel(board).description), /no description/);
  assert.match(wrong((board) => (board.links[0].url = "/d/grid-nothing?")), /grid-nothing/);
  assert.match(wrong((board) => (board.links[0].url += "&var-colour=red")), /colour/);
  assert.match(wrong((board) => (board.links[3].url = "${grid}/api/v1/nothing")), /api\/v1\/nothing/);
  assert.deepEqual([...variablesIn('a ${job:regex} [[task]] $grid ${__from}')], ["job", "task", "grid"]);
});

test("what is wrong in a rule is seen", () => {
  const wrong = (change) => {
    const rule = structuredClone(rules.find((rule) => rule.uid === "grid-disk"));
    change(rule);
    return faultsOfRules([rule], known).join("\n");
  };
  assert.equal(wrong(() => {}), "");
  assert.match(wrong((rule) => (rule.annotations.runbook_url += "s")), /disks: the runbook has no such section/);
  assert.match(wrong((rule) => (rule.annotations.runbook_url = "docs/runbook.md#disk")), /nothing is at docs/);
  assert.match(wrong((rule) => (rule.annotations.grid_url = "http://localhost:8080/api/v1/nothing")), /v1\/nothing/);
  assert.match(wrong((rule) => (rule.annotations.dashboard_url += "&var-colour=red")), /colour/);
  assert.match(wrong((rule) => (rule.annotations.__panelId__ = "99")), /99/);
  assert.match(wrong((rule) => (rule.data[0].datasourceUid = "grid-victorialogs")), /InfluxDB/);
  assert.match(wrong((rule) => (rule.annotations.summary = "{{ $labels.worker_id }}")), /worker_id/);
  assert.match(wrong((rule) => (rule.condition = "D")), /"D"/);
  assert.match(wrong((rule) => (rule.data[0].model.query = rule.data[0].model.query.replace("disk_free_bytes", "x"))), /x/);
});
