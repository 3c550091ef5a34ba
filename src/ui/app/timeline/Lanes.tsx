// The lanes of attempts, drawn: one for each task, and of those only what is in sight.
import { type KeyboardEvent, type MouseEvent, type PointerEvent, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { go } from "../route/route";
import { Link } from "../route/Link";
import { type Bar, marks, type Row, running, since, told, type View } from "./spans";

const ROW = 24;
const AXIS = 44;
const LABELS = 170;
/** Rows beyond the edges of what is in sight. */
const BEYOND = 6;
/** Bars of one row that are drawn at a time. */
const MOST_BARS = 80;

/** A worker that had no room for it gave it back: nothing is wrong with the task. */
const gaveBack = ({ reason }: Bar) => reason === "HANDED_BACK";

const HUES = { SCHEDULED: "gray", RUNNING: "blue", COMPLETED: "green", FAILED: "red" } as const;
const SIGNS = { SCHEDULED: "◌", RUNNING: "▶", COMPLETED: "✓", FAILED: "✕" } as const;

interface Props {
  rows: Row[];
  view: View;
  /** When the job was submitted, in milliseconds since 1970. */
  zero: number;
  turnTo(view: View | undefined): void;
  point(text: string | undefined): void;
}

interface Focus {
  row: number;
  bar: number;
}

const address = (row: Row, bar: Bar) => `/tasks/${row.id}?attempt=${bar.attempt}`;

const middleOf = (it: Bar) => ((it.started ?? it.scheduled) + it.end) / 2;

const here = (event: PointerEvent) => event.clientX - event.currentTarget.getBoundingClientRect().left;

interface BarProps {
  row: Row;
  bar: Bar;
  y: number;
  x(at: number): number;
  focused: boolean;
  focus(): void;
  point(text: string | undefined): void;
}

function Attempt({ row, bar, y, x, focused, focus, point }: BarProps) {
  const hue = gaveBack(bar) ? "gray" : HUES[bar.outcome];
  const begin = x(bar.started ?? bar.scheduled);
  const width = Math.max(3, x(bar.end) - begin);
  const words = told(row, bar);
  const open = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(address(row, bar));
  };
  const ran = bar.started !== undefined;
  return (
    <a
      href={address(row, bar)}
      className={`attempt ${hue} ${ran ? "" : "unrun"}`}
      tabIndex={focused ? 0 : -1}
      aria-label={words}
      data-attempt={`${row.name} ${bar.attempt}`}
      data-outcome={bar.outcome}
      onClick={open}
      onFocus={() => {
        focus();
        point(words);
      }}
      onBlur={() => point(undefined)}
      onMouseEnter={() => point(words)}
      onMouseLeave={() => point(undefined)}
    >
      {ran && bar.started !== undefined && <line className="waited" x1={x(bar.scheduled)} x2={begin} y1={y + ROW / 2} y2={y + ROW / 2} />}
      {bar.again !== undefined && <line className="again" x1={x(bar.end)} x2={x(bar.again)} y1={y + ROW / 2} y2={y + ROW / 2} />}
      <rect className="ran" x={begin} y={y + 4} width={width} height={ROW - 8} rx="3" />
      {hue === "red" && <rect className="hatched" x={begin} y={y + 4} width={width} height={ROW - 8} rx="3" />}
      {width > 18 && (
        <text x={begin + 6} y={y + 16}>
          {gaveBack(bar) ? "↩" : SIGNS[bar.outcome]}
          {width > 70 && bar.attempt > 1 && ` ${bar.attempt}`}
        </text>
      )}
    </a>
  );
}

/** The axis, with how many attempts run. */
interface AxisProps extends Pick<Props, "view" | "zero">, ReturnType<typeof running> {
  width: number;
  x(at: number): number;
}

function Axis({ steps, most, view, zero, width, x }: AxisProps) {
  const top = (count: number) => 20 - (count / Math.max(1, most)) * 16;
  const path = steps.map(([at, count]) => `H${x(at).toFixed(1)} V${top(count).toFixed(1)}`).join(" ");
  const [first] = steps;
  return (
    <svg className="axis" width={width} height={AXIS} aria-hidden="true">
      {first && <path className="parallel" d={`M${x(first[0]).toFixed(1)},20 ${path} H${width} V20 Z`} />}
      <line x1="0" x2={width} y1="20.5" y2="20.5" />
      {marks(view, zero, width / 90).map((at) => (
        <g key={at} transform={`translate(${x(at + zero)} 0)`}>
          <line y1="20" y2="26" />
          <text y="38" textAnchor="middle">
            {since(at)}
          </text>
        </g>
      ))}
    </svg>
  );
}

export function Lanes({ rows, view, zero, turnTo, point }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 800, height: 400 });
  const [top, setTop] = useState(0);
  const [focus, setFocus] = useState<Focus>({ row: 0, bar: 0 });
  const moved = useRef(false);
  const [drawn, setDrawn] = useState<[number, number]>();
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const watching = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    watching.observe(element);
    return () => watching.disconnect();
  }, []);
  const labels = Math.min(LABELS, size.width / 3);
  const width = Math.max(50, size.width - labels);
  const x = (at: number) => ((at - view.from) / (view.to - view.from)) * width;
  const at = (x: number) => view.from + (x / width) * (view.to - view.from);
  const first = Math.max(0, Math.floor(top / ROW) - BEYOND);
  const { steps, most } = useMemo(() => running(rows), [rows]);
  const seen = rows.slice(first, Math.ceil((top + size.height) / ROW) + BEYOND);

  // The focus goes where keys led, once it is drawn there.
  useEffect(() => {
    if (!moved.current) return;
    const row = rows[focus.row];
    const bar = row?.bars[focus.bar];
    const element = row && bar && box.current?.querySelector<SVGAElement>(`[data-attempt="${CSS.escape(`${row.name} ${bar.attempt}`)}"]`);
    if (!element) return;
    moved.current = false;
    element.focus();
  });

  const zoom = (factor: number) => {
    const its = rows[focus.row]?.bars[focus.bar];
    const middle = its ? middleOf(its) : (view.from + view.to) / 2;
    const half = ((view.to - view.from) / 2) * factor;
    turnTo({ from: middle - half, to: middle + half });
  };

  const move = (row: number, bar: number) => {
    const to = Math.max(0, Math.min(rows.length - 1, row));
    const bars = rows[to]?.bars.length ?? 0;
    const next = Math.max(0, Math.min(bars - 1, bar));
    moved.current = true;
    setFocus({ row: to, bar: next });
    const its = rows[to]?.bars[next];
    if (its && (its.end < view.from || its.scheduled > view.to)) {
      // As long a time as before, with it in the middle.
      const begin = middleOf(its) - (view.to - view.from) / 2;
      turnTo({ from: begin, to: begin + view.to - view.from });
    }
    const element = box.current;
    if (!element) return;
    const [above, below] = [to * ROW, (to + 1) * ROW + AXIS - element.clientHeight];
    if (element.scrollTop > above) element.scrollTop = above;
    if (element.scrollTop < below) element.scrollTop = below;
  };

  const keys = (event: KeyboardEvent) => {
    const { row, bar } = focus;
    const acts: Record<string, () => void> = {
      ArrowRight: () => move(row, bar + 1),
      ArrowLeft: () => move(row, bar - 1),
      ArrowDown: () => move(row + 1, bar),
      ArrowUp: () => move(row - 1, bar),
      PageDown: () => move(row + 10, bar),
      PageUp: () => move(row - 10, bar),
      Home: () => move(0, 0),
      End: () => move(rows.length - 1, 0),
      "+": () => zoom(0.5),
      "-": () => zoom(2),
      "0": () => turnTo(undefined),
    };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  };

  const draw = {
    onPointerDown: (event: PointerEvent<SVGSVGElement>) => event.button === 0 && setDrawn([here(event), here(event)]),
    onPointerMove: (event: PointerEvent<SVGSVGElement>) => drawn && setDrawn([drawn[0], here(event)]),
    onPointerLeave: () => setDrawn(undefined),
    onPointerUp: () => {
      if (drawn && Math.abs(drawn[1] - drawn[0]) > 8) turnTo({ from: at(Math.min(...drawn)), to: at(Math.max(...drawn)) });
      setDrawn(undefined);
    },
  };

  const focusable = (row: number, bar: number) =>
    focus.row === row ? focus.bar === bar : (focus.row < first || focus.row >= first + seen.length) && row === first && bar === 0;

  return (
    // Keys lead from bar to bar.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions
    <div ref={box} className="lanes" role="region" tabIndex={0} aria-label="Attempts over time" onScroll={(event) => setTop(event.currentTarget.scrollTop)} onKeyDown={keys}>
      <div style={{ height: AXIS + rows.length * ROW }}>
        <div className="top" style={{ height: AXIS }}>
          <span className="soft" style={{ width: labels }}>
            {most > 0 && `${most} at once at most`}
            <br />
            since the submission
          </span>
          <Axis steps={steps} most={most} view={view} zero={zero} width={width} x={x} />
        </div>
        <ol className="names" style={{ width: labels, top: AXIS + first * ROW }}>
          {seen.map((row) => (
            <li key={row.id} style={{ height: ROW }}>
              <Link href={`/tasks/${row.id}`} title={row.name}>
                {row.name}
              </Link>
            </li>
          ))}
        </ol>
        <svg className="bars" role="group" aria-label="Attempts" width={width} height={seen.length * ROW} style={{ left: labels, top: AXIS + first * ROW }} {...draw}>
          <defs>
            <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <line x1="0" x2="0" y1="0" y2="6" />
            </pattern>
          </defs>
          {marks(view, zero, width / 90).map((at) => (
            <line key={at} className="mark" x1={x(at + zero)} x2={x(at + zero)} y1="0" y2={seen.length * ROW} />
          ))}
          {seen.map((row, index) => {
            const shown = row.bars.filter((bar) => Math.max(bar.end, bar.again ?? 0) >= view.from && bar.scheduled <= view.to).slice(-MOST_BARS);
            return (
              <g key={row.id} className="lane">
                <line className="ground" x1="0" x2={width} y1={(index + 1) * ROW - 0.5} y2={(index + 1) * ROW - 0.5} />
                {shown.map((bar) => {
                  const its = row.bars.indexOf(bar);
                  const place = { row: first + index, bar: its };
                  return (
                    <Attempt
                      key={bar.attempt}
                      row={row}
                      bar={bar}
                      y={index * ROW}
                      x={x}
                      focused={focusable(place.row, its)}
                      focus={() => setFocus(place)}
                      point={point}
                    />
                  );
                })}
              </g>
            );
          })}
          {drawn && <rect className="drawn" x={Math.min(...drawn)} y="0" width={Math.abs(drawn[1] - drawn[0])} height={seen.length * ROW} />}
        </svg>
      </div>
    </div>
  );
}
