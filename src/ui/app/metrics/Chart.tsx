// One chart: what it says in words, its lines, the values at the time that is pointed at, and all of it as a table.
import { type KeyboardEvent, lazy, Suspense, useCallback, useMemo, useState } from "react";
import { NumberHead, Table } from "../design/Table";
import { Time, useNow } from "../design/Time";
import { turn } from "../route/route";
import { DASHES, type Hue } from "./hues";
import { show, type Unit } from "./units";
import { column, type Span, windows } from "./windows";

const Plot = lazy(() => import("./Plot"));

const HEIGHT = 168;
/** Milliseconds over which a line goes on: what is counted comes every ten seconds, what stands, such as memory, once a
 * minute while nothing runs. */
const BRIDGED = { counted: 25_000, standing: 130_000 };
/** Windows whose values are of now. */
const RECENT = 4;

/** One line of a chart. */
export interface Told {
  label: string;
  hue: Hue;
  /** By the beginning of their windows, in milliseconds since 1970. */
  values: ReadonlyMap<number, number>;
}

interface Props {
  title: string;
  unit: Unit;
  /** What else is to be known of the numbers. */
  note?: string | undefined;
  span: Span;
  told: readonly Told[];
  /** A window says something only when it is over, as of sums. */
  whole: boolean;
}

type Column = (number | null | undefined)[];

const known = (values: Column): number[] => values.filter((it) => typeof it === "number");
/** The last value, unless it is of long ago. */
const newest = (values: Column, recent: number): number | undefined => known(values.slice(-recent)).at(-1);

function inWords(title: string, told: readonly Told[], columns: Column[], unit: Unit): string {
  const parts = told.map(({ label }, index) => {
    const values = known(columns[index] ?? []);
    const last = values.at(-1);
    if (last === undefined) return `${label}: nothing measured`;
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return `${label}: last ${show(last, unit)}, between ${show(least, unit)} and ${show(most, unit)}`;
  });
  return `${title}. ${parts.join(". ")}.`;
}

/** What a line looks like, beside its name. */
function Swatch({ hue, index }: { hue: Hue; index: number }) {
  return (
    <svg className={`swatch ink-${hue}`} width="22" height="8" aria-hidden="true">
      <line x1="0" y1="4" x2="22" y2="4" strokeDasharray={(DASHES[index % DASHES.length] ?? []).join(" ")} />
    </svg>
  );
}

export function Chart({ title, unit, note, span, told, whole }: Props) {
  const now = useNow();
  const [pointed, point] = useState<number | null>(null);
  const [byKeys, setByKeys] = useState(false);
  const [table, setTable] = useState(false);
  const { from, to, interval } = span;
  // Long windows need not be drawn anew each second.
  const pace = Math.min(10, Math.max(1, Math.floor(interval / 10_000)));
  const second = Math.floor(now / 1_000 / pace) * pace;
  const times = useMemo(() => windows({ from, to, interval }, second * 1_000, whole), [from, to, interval, second, whole]);
  const bridged = whole ? BRIDGED.counted : BRIDGED.standing;
  const columns = useMemo(() => told.map(({ values }) => column(values, times, interval, bridged)), [told, times, interval, bridged]);
  const drawn = useMemo(
    () => columns.map((values, index) => ({ values, hue: told[index]?.hue ?? "blue", filled: told.length === 1 })),
    [columns, told],
  );
  const seconds = useMemo(() => times.map((at) => at / 1_000), [times]);
  const ends = useMemo<[number, number]>(() => [from / 1_000, (to ?? second * 1_000) / 1_000], [from, to, second]);
  const words = inWords(title, told, columns, unit);
  const place = pointed === null ? null : Math.min(pointed, times.length - 1);
  const at = place === null ? undefined : times[place];
  const zoom = useCallback((from: number, to: number) => turn({ range: null, from: String(from), to: String(to) }), []);

  const keys = (event: KeyboardEvent) => {
    const last = times.length - 1;
    const here = place ?? last;
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last, PageUp: here - 10, PageDown: here + 10 }[event.key];
    if (event.key === "Escape") point(null);
    if (next === undefined || last < 0) return;
    event.preventDefault();
    setByKeys(true);
    point(Math.max(0, Math.min(last, next)));
  };

  return (
    <figure className="panel chart" data-chart={title}>
      <header>
        <h2>{title}</h2>
        {note && <span className="soft small">{note}</span>}
        <span className="grow" />
        {at !== undefined && (
          <span className="soft small">
            <Time at={new Date(at).toISOString()} />
          </span>
        )}
        <button type="button" className="plain small" aria-pressed={table} onClick={() => setTable(!table)} aria-label={`${title} as a table`}>
          {table ? "Chart" : "Table"}
        </button>
      </header>
      {table ? (
        <Values title={title} times={times} told={told} columns={columns} unit={unit} />
      ) : (
        // Keys point at times, as the mouse does.
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions
        <div className="drawing" role="img" tabIndex={0} aria-label={words} onKeyDown={keys} onBlur={() => byKeys && point(null)}>
          <Suspense fallback={<div style={{ minHeight: HEIGHT }} />}>
            <Plot
              times={seconds}
              drawn={drawn}
              ends={ends}
              height={HEIGHT}
              binary={unit === "bytes" || unit === "byteRate"}
              show={(value) => show(value, unit)}
              point={(index) => {
                setByKeys(false);
                point(index);
              }}
              pointed={byKeys ? place : null}
              zoom={zoom}
            />
          </Suspense>
        </div>
      )}
      <ul className="legend">
        {told.map(({ label, hue }, index) => {
          const values = columns[index] ?? [];
          const value = place === null ? newest(values, Math.max(RECENT, Math.ceil(bridged / interval))) : values[place];
          return (
            <li key={label}>
              <Swatch hue={hue} index={index} />
              <span className="soft">{label}</span>
              <b>{typeof value === "number" ? show(value, unit) : "–"}</b>
            </li>
          );
        })}
      </ul>
      <p className="unseen" aria-live="polite">
        {byKeys && at !== undefined
          ? `${new Date(at).toLocaleTimeString()}: ${told.map(({ label }, index) => `${label} ${shown(columns[index]?.[place ?? 0], unit)}`).join(", ")}`
          : ""}
      </p>
    </figure>
  );
}

const shown = (value: number | null | undefined, unit: Unit) => (typeof value === "number" ? show(value, unit) : "nothing");

interface ValuesProps {
  title: string;
  times: number[];
  told: readonly Told[];
  columns: Column[];
  unit: Unit;
}

/** The newest first. */
function Values({ title, times, told, columns, unit }: ValuesProps) {
  const rows = times.map((at, index) => ({ at, index })).filter(({ index }) => columns.some((it) => typeof it[index] === "number"));
  const columnsOf = ["Time", ...told.map(({ label }) => <NumberHead key={label}>{label}</NumberHead>)];
  return (
    <div className="values">
      <Table
        label={`Values of ${title}`}
        columns={columnsOf}
        empty="Nothing was measured in this time."
        rows={rows.toReversed().map(({ at, index }) => (
          <tr key={at}>
            <td>
              <Time at={new Date(at).toISOString()} />
            </td>
            {told.map(({ label }, its) => (
              <td key={label} className="number">
                {shown(columns[its]?.[index], unit)}
              </td>
            ))}
          </tr>
        ))}
      />
    </div>
  );
}
