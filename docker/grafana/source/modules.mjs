// Modules are not beside the sources but in a cache (scripts/web-modules.sh docker/grafana/source), whose folder
// GRID_GRAFANA_MODULES names.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

export const modules = process.env.GRID_GRAFANA_MODULES;
if (!modules) {
  throw new Error("GRID_GRAFANA_MODULES is not set: run scripts/grafana.sh");
}
const require = createRequire(`${modules}/package.json`);
const sdk = (name) => require(`@grafana/grafana-foundation-sdk/${name}`);

export const alerting = sdk("alerting");
export const common = sdk("common");
export const dashboard = sdk("dashboard");
export const panels = {
  logs: sdk("logs"),
  stat: sdk("stat"),
  table: sdk("table"),
  timeseries: sdk("timeseries"),
};
export const YAML = require("yaml");

/** A path of the repository. */
export const inRepository = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
