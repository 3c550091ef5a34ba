// Prints every query of the committed dashboards and rules, as JSON: [{where, datasource, query}]. `where` is the dashboard
// and its panel or variable, or the rule's uid.
import { readFileSync, readdirSync } from "node:fs";
import { queriesOf } from "./faults.mjs";
import { inRepository, YAML } from "./modules.mjs";

const read = (name) => readFileSync(inRepository(name), "utf8");
const dashboards = readdirSync(inRepository("docker/grafana/dashboards"));
const ofDashboards = dashboards.flatMap((name) => queriesOf(JSON.parse(read(`docker/grafana/dashboards/${name}`))));
const { groups } = YAML.parse(read("docker/grafana/provisioning/alerting/rules.yaml"));
const ofRules = groups
  .flatMap((group) => group.rules)
  .map(({ uid, data: [{ model }] }) => ({ where: uid, datasource: model.datasource, query: model.query }));
console.log(JSON.stringify([...ofDashboards, ...ofRules]));
