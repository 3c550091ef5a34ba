// What of that which dashboards and rules name does not exist. `known`: the table of metrics, the dashboards, data sources
// (uid to type), paths of the API and of the web page, and sections of the runbook.

/** Variables that a text names, but for Grafana's own. */
export function variablesIn(text) {
  const found = text.matchAll(/\$\{(\w+)(?:[:.][^}]*)?\}|\[\[(\w+)\]\]|\$(\w+)/g);
  const names = [...found].map(([, braced, bracketed, bare]) => braced ?? bracketed ?? bare);
  return new Set(names.filter((name) => !name.startsWith("__")));
}

/** What a Flux query names that the table of metrics lacks. */
export function faultsOfFlux(query, { table }) {
  const faults = [];
  const filters = [...query.matchAll(/r\._measurement == "(\w+)" and \(([^)]+)\)/g)];
  const named = new Set();
  if (filters.length < query.split("from(bucket:").length - 1) {
    faults.push("each from needs a filter of a measurement and its fields");
  }
  for (const [, measurement, fields] of filters) {
    for (const [, field] of fields.matchAll(/r\._field == "(\w+)"/g)) {
      named.add(field);
      const row = table.get(field);
      if (!row) {
        faults.push(`docs/metrics.md has no field ${field}`);
      } else if (row.measurement !== measurement) {
        faults.push(`${field} is of ${row.measurement}, not of ${measurement}`);
      }
    }
  }
  for (const [, field] of query.matchAll(/r\._field == "(\w+)"/g)) {
    if (!named.has(field)) faults.push(`${field} is compared, but filtered out before`);
  }
  const tags = new Set([...named].flatMap((field) => table.get(field)?.tags ?? []));
  const made = new Set([...query.matchAll(/(\w+):/g)].map((found) => found[1]).filter((name) => !isTag(name, table)));
  const used = [...query.matchAll(/\br\.([a-z]\w*)/g)].map((found) => found[1]);
  const grouped = [...query.matchAll(/(?:columns|rowKey): \[([^\]]*)\]/g)].flatMap(([, list]) =>
    [...list.matchAll(/"([a-z]\w*)"/g)].map((found) => found[1]),
  );
  for (const tag of new Set([...used.filter((name) => !made.has(name)), ...grouped])) {
    if (!tags.has(tag)) faults.push(`${tag} is no tag of ${[...named].join(", ")}`);
  }
  return faults;
}

const isTag = (name, table) => [...table.values()].some((row) => row.tags.includes(name));

/** Whether a path, whose parameters may be templates, is one of these. */
function isPath(path, paths) {
  const parts = path.split("/");
  return paths.some((one) => {
    const wanted = one.split("/");
    return (
      wanted.length === parts.length &&
      wanted.every((part, at) => (part.startsWith("{") ? /^(\$\{|\{\{)/.test(parts[at]) : part === parts[at]))
    );
  });
}

/** Pages that are open to browsers but not described as calls, besides the views of the web page. */
const PAGES = ["/api/docs", "/api/docs/runbook", "/graphql"];

function faultsOfLink(url, { boards, paths }) {
  const inGrafana = url.match(/^\/d\/([^?]+)\??(.*)$/);
  if (inGrafana) {
    const board = boards.find((board) => board.uid === inGrafana[1]);
    if (!board) return [`no dashboard is called ${inGrafana[1]}`];
    const has = new Set(board.templating.list.map((variable) => variable.name));
    const given = [...inGrafana[2].matchAll(/var-(\w+)=/g)].map((found) => found[1]);
    return given.filter((name) => !has.has(name)).map((name) => `${board.uid} has no variable ${name}`);
  }
  const path = url.match(/^(?:\$\{grid\}|http:\/\/localhost:8080)(.*)$/)?.[1];
  return path !== undefined && (PAGES.includes(path) || isPath(path.replace(/\?.*/, ""), paths)) ? [] : [`nothing is at ${url}`];
}

function linksOf(board) {
  const found = [...(board.links ?? [])];
  for (const panel of board.panels) {
    found.push(...(panel.links ?? []), ...(panel.fieldConfig?.defaults?.links ?? []));
    for (const { properties } of panel.fieldConfig?.overrides ?? []) {
      found.push(...properties.filter(({ id }) => id === "links").flatMap(({ value }) => value));
    }
  }
  return found.map((link) => link.url);
}

/** All queries of a dashboard, those of its variables too: {where, datasource, query}. */
export function queriesOf(board) {
  const ofPanels = board.panels
    .filter((panel) => panel.type !== "row")
    .flatMap((panel) =>
      panel.targets.map((target) => ({
        where: `${board.title}: ${panel.title}`,
        datasource: target.datasource,
        query: target.query ?? target.expr,
      })),
    );
  const ofVariables = board.templating.list
    .filter((variable) => variable.type === "query")
    .map(({ name, datasource, query }) => ({ where: `${board.title}: $${name}`, datasource, query: query.query }));
  return [...ofPanels, ...ofVariables];
}

/** What is wrong in a dashboard. */
export function faultsOf(board, known) {
  const faults = [];
  const defined = new Set(board.templating.list.map((variable) => variable.name));
  const { templating: _, ...rest } = board;
  for (const name of variablesIn(JSON.stringify(rest))) {
    if (!defined.has(name)) faults.push(`\${${name}} is not defined`);
  }
  const ids = board.panels.map((panel) => panel.id);
  ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => faults.push(`panel ${id} is there twice`));
  board.panels
    .filter((panel) => panel.type !== "row")
    .forEach((panel) => {
      if (!known.sources.has(panel.datasource?.uid)) faults.push(`${panel.title}: no source ${panel.datasource?.uid}`);
      if (!(panel.targets?.length > 0)) faults.push(`${panel.title}: no query`);
      if (!panel.description) faults.push(`${panel.title}: no description`);
    });
  for (const { where, datasource, query } of queriesOf(board)) {
    if (known.sources.get(datasource.uid) !== datasource.type) faults.push(`${where}: no source ${datasource.uid}`);
    if (datasource.type === "influxdb") faults.push(...faultsOfFlux(query, known).map((fault) => `${where}: ${fault}`));
    for (const name of variablesIn(query)) {
      if (!defined.has(name)) faults.push(`${where}: \${${name}} is not defined`);
    }
  }
  faults.push(...linksOf(board).flatMap((url) => faultsOfLink(url, known)));
  return faults.map((fault) => `${board.uid}: ${fault}`);
}

/** What is wrong in rules. */
export function faultsOfRules(rules, known) {
  return rules.flatMap((rule) => {
    const faults = [];
    const refs = rule.data.map((query) => query.refId);
    if (!refs.includes(rule.condition)) faults.push(`no query "${rule.condition}"`);
    for (const { datasourceUid, model } of rule.data) {
      if (datasourceUid === "__expr__") {
        if (!refs.includes(model.expression)) faults.push(`no query "${model.expression}"`);
      } else if (known.sources.get(datasourceUid) === "influxdb") {
        faults.push(...faultsOfFlux(model.query, known));
      } else {
        faults.push(`${datasourceUid} is not InfluxDB`);
      }
    }
    const { runbook_url: runbook, __dashboardUid__: uid, __panelId__: id } = rule.annotations;
    const [page, section] = runbook.split("#");
    faults.push(...faultsOfLink(page, known));
    if (!known.sections.has(section)) faults.push(`${runbook}: the runbook has no such section`);
    const links = [rule.annotations.grid_url, rule.annotations.dashboard_url.replace("{{ externalURL }}", "/")];
    faults.push(...links.filter(Boolean).flatMap((url) => faultsOfLink(url, known)));
    const board = known.boards.find((board) => board.uid === uid);
    const panel = board?.panels.find((panel) => String(panel.id) === id);
    if (!panel || panel.type === "row") faults.push(`no panel ${id} in ${uid}`);
    const [{ model }] = rule.data;
    const columns = new Set([...model.query.matchAll(/"(\w+)"|(\w+):/g)].map((found) => found[1] ?? found[2]));
    for (const [, label] of JSON.stringify(rule.annotations).matchAll(/\$labels\.(\w+)/g)) {
      if (!columns.has(label)) faults.push(`an annotation has ${label}, which the query does not give`);
    }
    return faults.map((fault) => `${rule.uid}: ${fault}`);
  });
}
