// How panels, variables and links of all dashboards look.
import { common, dashboard, panels } from "./modules.mjs";

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

const lines = (expr, maxLines = 500) =>
  built({ refId: "A", datasource: LOGS, expr, queryType: "instant", maxLines });

function dressed(panel, { title, description, queries, unit, width, height, decimals, name, links }) {
  panel.title(title).datasource(INFLUX).span(width).height(height);
  if (description) panel.description(description);
  if (unit) panel.unit(unit);
  if (decimals !== undefined) panel.decimals(decimals);
  if (name) panel.displayName(name);
  if (links) panel.dataLinks(links);
  [queries].flat().forEach((query, at) => panel.withTarget(flux(query, "ABCDEF"[at])));
  return panel;
}

/** Lines over time. `name` says what a series is called, as a template of its labels. */
export function series({ stacked = false, fill = stacked ? 40 : 10, minInterval, width = 12, height = 8, ...rest }) {
  const panel = dressed(new panels.timeseries.PanelBuilder(), { width, height, ...rest });
  const legend = new common.VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(common.LegendDisplayMode.Table)
    .placement(common.LegendPlacement.Right)
    .calcs(["lastNotNull", "max"]);
  panel
    .fillOpacity(fill)
    .lineWidth(1)
    .showPoints(common.VisibilityMode.Auto)
    .legend(legend)
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort("desc"))
    .min(0);
  if (stacked) panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group("A"));
  if (minInterval) panel.interval(minInterval);
  return panel;
}

/** One number, or one for each field. `steps` are the values from which on it is orange and red. */
export function number({ steps, noValue = "0", width = 4, height = 4, ...rest }) {
  const panel = dressed(new panels.stat.PanelBuilder(), { width, height, ...rest });
  panel
    .noValue(noValue)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false).fields(""))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(steps ? common.BigValueColorMode.Background : common.BigValueColorMode.Value);
  if (steps) {
    const [orange, red] = steps;
    const colors = [
      { value: null, color: "green" },
      { value: orange, color: "orange" },
      { value: red, color: "red" },
    ];
    const thresholds = new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(colors);
    panel.thresholds(thresholds).colorScheme(new dashboard.FieldColorBuilder().mode("thresholds"));
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

/** Where the API is, as a browser reaches it. */
const gridVariable = () =>
  new dashboard.TextBoxVariableBuilder("grid")
    .label("Grid")
    .description("Address of the API, for links")
    .defaultValue("http://localhost:8080")
    .current({ selected: true, text: "http://localhost:8080", value: "http://localhost:8080" });

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
  [...links, toGrid("API", "/api/docs")].forEach((link) => builder.link(link));
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
