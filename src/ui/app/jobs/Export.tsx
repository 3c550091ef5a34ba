// Jobs as a file: those that are chosen, else all that the filter lets through.
import { download, keep } from "../data/ask";
import { Problem } from "../data/problem";
import { tell } from "../design/Toasts";
import type { JobRow } from "./query";

const FORMATS = ["csv", "json", "ndjson"] as const;

export function Export({ chosen, query }: { chosen: JobRow[]; query: URLSearchParams }) {
  const save = (format: (typeof FORMATS)[number]) => {
    if (chosen.length > 0 && format === "json") {
      keep(new Blob([JSON.stringify(chosen, null, 2)], { type: "application/json" }), "jobs.json");
      return;
    }
    const asked = new URLSearchParams({ format });
    for (const name of ["status", "externalId", "label"]) for (const it of query.getAll(name)) asked.append(name, it);
    download(`/api/v1/jobs/export?${asked}`, `jobs.${format}`).catch((error: unknown) =>
      tell("bad", `Export: ${Problem.from(error).message}`),
    );
  };
  return (
    <select
      aria-label="Export"
      value=""
      onChange={(event) => {
        const format = FORMATS.find((it) => it === event.target.value);
        if (format) save(format);
      }}
    >
      <option value="">Export…</option>
      {chosen.length > 0 && <option value="json">{chosen.length} chosen, as JSON</option>}
      {FORMATS.filter((it) => chosen.length === 0 || it !== "json").map((it) => (
        <option key={it} value={it}>
          All that fit, as {it.toUpperCase()}
        </option>
      ))}
    </select>
  );
}
