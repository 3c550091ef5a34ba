// How panels, variables and links of all dashboards look.
import { common, dashboard, panels } from "./modules.mjs";
import { readTable } from "./table.mjs";

/** Where the API is, as a browser reaches it, unless somebody says otherwise. */
export const GRID = "http://localhost:8080";

/** Where Grid shows what has an id, which may be a template. */
export const IN_GRID = {
  job: (id) => `/jobs/${id}`,
  linesOf: (id) => `/jobs/${id}?tab=logs`,
  task: (id) => `/tasks/${id}`,
  worker: (id) => `/workers/${id}`,
  workers: "/workers",
  health: "/health/ready",
  runbook: (section) => `/api/docs/runbook#${section}`,
};

export const INFLUX = { type: "influxdb", uid: "grid-influxdb" };
export const LOGS = { type: "victoriametrics-logs-datasource", uid: "grid-victorialogs" };

/** Every dashboard: name to uid and title. Links are made of it. */
export const BOARDS = {
  cluster: { uid: "grid-cluster", title: "Cluster Overview" },
  job: { uid: "grid-job", title: "Job Monitoring" },
  task: { uid: "grid-task", title: "Task Details" },
  system: { uid: "grid-system", title: "System Health" },
};

const built = (value) => ({ build: () => value });

const flux = (query, refId = "A") => built({ refId, datasource: INFLUX, query });

/** What the plugin asks VictoriaLogs for: /select/logsql/query with `query=expr`, `limit=maxLines` and the range. */
const lines = (expr, maxLines = 500) =>
  built({ refId: "A", datasource: LOGS, editorMode: "code", expr, queryType: "instant", maxLines });

const metrics = readTable();

/** What a panel is about: what is said of it, and what the table of metrics says of its fields. */
function about(description, queries) {
  const fields = new Set(queries.flatMap((query) => [...query.matchAll(/r\._field == "(\w+)"/g)].map(([, name]) => name)));
  const told = [...fields].map((name) => [name, metrics.get(name).about]);
  const lines = told.length === 1 ? [told[0][1]] : told.map(([name, what]) => `- \`${name}\`: ${what}`);
  return [description, lines.join("\n")].filter(Boolean).join("\n\n");
}

function dressed(panel, { title, description, queries, unit, width, height, decimals, name, links }) {
  panel.title(title).datasource(INFLUX).span(width).height(height);
  panel.description(about(description, [queries].flat()));
  if (unit) panel.unit(unit);
  if (decimals !== undefined) panel.decimals(decimals);
  if (name) panel.displayName(name);
  if (links) panel.dataLinks(links);
  [queries].flat().forEach((query, at) => panel.withTarget(flux(query, "ABCDEF"[at])));
  return panel;
}

const thresholds = (steps) => {
  const colors = steps.map(([value, color]) => ({ value, color }));
  return new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(colors);
};

/**
 * Lines over time. `name` says what a series is called, as a template of its labels; `limit` is where an alert rule
 * strikes.
 */
export function series({ stacked = false, limit, minInterval, width = 12, height = 8, ...rest }) {
  const panel = dressed(new panels.timeseries.PanelBuilder(), { width, height, ...rest });
  const legend = new common.VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(common.LegendDisplayMode.Table)
    .placement(common.LegendPlacement.Right)
    .calcs(["lastNotNull", "max"]);
  panel
    .fillOpacity(stacked ? 40 : 10)
    .lineWidth(1)
    .showPoints(common.VisibilityMode.Auto)
    .legend(legend)
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort("desc"))
    .min(0);
  if (stacked) panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group("A"));
  if (minInterval) panel.interval(minInterval);
  if (limit !== undefined) {
    const style = new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed);
    panel.thresholds(thresholds([[null, "transparent"], [limit, "red"]])).thresholdsStyle(style);
  }
  return panel;
}

/**
 * One number, or one for each field. `steps`: from which values on it is orange and red; `least`: below which values it is
 * red and orange. Without points it is `noValue`.
 */
export function number({ steps, least, noValue = "0", width = 4, height = 4, ...rest }) {
  const panel = dressed(new panels.stat.PanelBuilder(), { width, height, ...rest });
  panel
    .noValue(noValue)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false).fields(""))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(steps || least ? common.BigValueColorMode.Background : common.BigValueColorMode.Value);
  const colors = steps
    ? [[null, "green"], [steps[0], "orange"], [steps[1], "red"]]
    : least && [[null, "red"], [least[0], "orange"], [least[1], "green"]];
  if (colors) {
    panel.thresholds(thresholds(colors)).colorScheme(new dashboard.FieldColorBuilder().mode("thresholds"));
  }
  return panel;
}

/** Rows and columns; `columns` is name to unit, or to {unit, links}. */
export function table({ columns, width = 24, height = 10, ...rest }) {
  const panel = dressed(new panels.table.PanelBuilder(), { width, height, ...rest });
  for (const [name, column] of Object.entries(columns)) {
    const { unit, links } = typeof column === "string" ? { unit: column } : column;
    const properties = [];
    if (unit) properties.push({ id: "unit", value: unit });
    if (links) properties.push({ id: "links", value: links.map((link) => link.build()) });
    panel.overrideByName(name, properties);
  }
  return panel;
}

/** Lines of logs. */
export function logs({ title, expr, description, width = 24, height = 10 }) {
  const panel = new panels.logs.PanelBuilder();
  panel.title(title).datasource(LOGS).span(width).height(height).withTarget(lines(expr));
  if (description) panel.description(description);
  return panel
    .showTime(true)
    .wrapLogMessage(true)
    .enableLogDetails(true)
    .sortOrder(common.LogsSortOrder.Descending)
    .dedupStrategy(common.LogsDedupStrategy.None);
}

export const row = (title) => new dashboard.RowBuilder(title);

/** A variable with the values that a tag has. */
export function tagVariable(name, query, { all = false, label = name } = {}) {
  const variable = new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(INFLUX)
    .query({ query, refId: `variable-${name}` })
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalDesc)
    .multi(all)
    .includeAll(all)
    .options([]);
  if (all) {
    variable.allValue(".*").current({ selected: true, text: ["All"], value: ["$__all"] });
  }
  return variable;
}

const gridVariable = () =>
  new dashboard.TextBoxVariableBuilder("grid")
    .label("Grid")
    .description("Address of the API, for links")
    .defaultValue(GRID)
    .current({ selected: true, text: GRID, value: GRID });

/** A link to another dashboard that gives it these variables: name to value, which may be a template. */
export function to(name, variables = {}, title = BOARDS[name].title) {
  const values = Object.entries(variables).map(([key, value]) => `var-${key}=${value}`);
  const url = `/d/${BOARDS[name].uid}?${[...values, "${__url_time_range}"].join("&")}`;
  return new dashboard.DashboardLinkBuilder(title).type("link").icon("").tooltip("").url(url);
}

/** A link to Grid itself. */
export const toGrid = (title, path) =>
  new dashboard.DashboardLinkBuilder(title)
    .type("link")
    .icon("external link")
    .tooltip("")
    .url(`\${grid}${path}`)
    .targetBlank(true);

/** A dashboard with links to the three others and to Grid. */
export function board(name, { description, variables, links = [], content, passes = [] }) {
  const { uid, title } = BOARDS[name];
  const builder = new dashboard.DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(["grid"])
    .timezone("browser")
    .refresh("30s")
    .time({ from: "now-1h", to: "now" })
    .tooltip(dashboard.DashboardCursorSync.Crosshair);
  [...variables, gridVariable()].forEach((variable) => builder.withVariable(variable));
  for (const other of Object.keys(BOARDS).filter((other) => other !== name)) {
    const shared = passes.filter((variable) => TAKES[other].includes(variable));
    const values = Object.fromEntries(shared.map((variable) => [variable, `\${${variable}}`]));
    builder.link(to(other, values));
  }
  [...links, toGrid("Runbook", "/api/docs/runbook"), toGrid("API", "/api/docs")].forEach((link) => builder.link(link));
  content.forEach((part) => (part instanceof dashboard.RowBuilder ? builder.withRow(part) : builder.withPanel(part)));
  const made = builder.build();
  made.panels.forEach((panel, at) => (panel.id = at + 1));
  return newest(made);
}

/** Without the defaults of older releases that the builders add and the types of Grafana no longer have. */
function newest(made) {
  for (const variable of made.templating.list) {
    ["auto", "auto_min", "auto_count"].forEach((name) => delete variable[name]);
  }
  for (const panel of made.panels.filter((panel) => panel.type === "table")) {
    delete panel.options.footer;
  }
  return made;
}

/** Which variables a dashboard may be given by a link. */
const TAKES = { cluster: [], job: ["job"], task: ["job", "task"], system: [] };
