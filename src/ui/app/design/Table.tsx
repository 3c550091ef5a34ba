// A list of things in rows. It scrolls sideways on narrow screens, and is gone through by the keys: the arrows (or j and k)
// go from row to row, x chooses a row where rows can be chosen.
import type { KeyboardEvent, ReactElement, ReactNode } from "react";

const STEPS: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };

function walk(event: KeyboardEvent<HTMLElement>): void {
  const { target, key, currentTarget } = event;
  const typing = target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && target.type !== "checkbox");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...currentTarget.querySelectorAll("tbody tr")];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  if (key === "x") rows[at]?.querySelector<HTMLInputElement>("input[type=checkbox]")?.click();
  const step = STEPS[key];
  if (step === undefined) return;
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step;
  const place = rows[next]?.querySelector<HTMLElement>("a") ?? rows[next]?.querySelector<HTMLElement>("button");
  if (!place) return;
  event.preventDefault();
  place.focus();
  place.scrollIntoView({ block: "nearest" });
}

/** The head of a column of numbers. */
export function NumberHead({ children }: { children: string }) {
  return (
    <th scope="col" className="number">
      {children}
    </th>
  );
}

interface Props {
  label: string;
  /** Their names, or elements `th`. */
  columns: readonly (string | ReactElement)[];
  rows: ReactNode[] | undefined;
  /** What is said when there are no rows. */
  empty: string;
  /** Other rows are on their way. */
  loading?: boolean;
}

/** `rows`: `undefined` while it is not known which there are. */
export function Table({ label, columns, rows, empty, loading = false }: Props) {
  return (
    // A list that scrolls has to be reached by the keys that scroll it.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions
    <section className={`table ${loading ? "loading" : ""}`} tabIndex={0} aria-label={label} aria-busy={loading} onKeyDown={walk}>
      <table>
        <thead>
          <tr>
            {columns.map((it) =>
              typeof it === "string" ? (
                <th key={it} scope="col">
                  {it}
                </th>
              ) : (
                it
              ),
            )}
          </tr>
        </thead>
        <tbody>{rows}</tbody>
      </table>
      {rows?.length === 0 && <p className="empty">{empty}</p>}
    </section>
  );
}
