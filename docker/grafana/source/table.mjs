// The table of metrics, as docs/metrics.md prints it (a test of src/metrics/table.rs compares the two).
import { readFileSync } from "node:fs";
import { inRepository } from "./modules.mjs";

/** Name of a field to {measurement, unit, kind, tags, about}; rates are made of fields and are none. */
export function readTable(text = readFileSync(inRepository("docs/metrics.md"), "utf8")) {
  const fields = new Map();
  let measurement;
  for (const line of text.split("\n")) {
    measurement = line.match(/^## (\w+_metrics)$/)?.[1] ?? measurement;
    const cells = line.split("|").map((cell) => cell.trim());
    const name = cells[1]?.match(/^`(\w+)`$/)?.[1];
    if (measurement && name && cells.length === 8 && !cells[3].startsWith("`")) {
      fields.set(name, { measurement, unit: cells[2], kind: cells[3], tags: cells[5].split(", "), about: cells[6] });
    }
  }
  return fields;
}
