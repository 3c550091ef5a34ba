// The drawn part of a chart. It is loaded when the first chart is shown, and draws in the colours of the page.
import "uplot/dist/uPlot.min.css";
import { useEffect, useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import { useStore } from "../data/store";
import { theme } from "../shell/theme";
import { DASHES, type Hue } from "./hues";

export interface Drawn {
  hue: Hue;
  values: (number | null | undefined)[];
  /** The ground under it is coloured. */
  filled: boolean;
}

interface Props {
  /** Seconds since 1970. */
  times: number[];
  drawn: Drawn[];
  /** Seconds since 1970: the ends of the axis. */
  ends: [number, number];
  height: number;
  /** Steps of the axis: of two where bytes are counted. */
  binary: boolean;
  show(value: number): string;
  /** Which time is pointed at, by its place in `times`. */
  point(index: number | null): void;
  /** Which time is pointed at by keys. */
  pointed: number | null;
  /** A part was drawn out, in milliseconds since 1970. */
  zoom(from: number, to: number): void;
}

/** 1, 2, 4 and so on. */
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);
/** Charts of a page point at the same time. */
const SYNC = "grid";
const DAY = 86_400;
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const WITH_SECONDS = new Intl.DateTimeFormat(undefined, { ...CLOCK, second: "2-digit" });
const WITH_MINUTES = new Intl.DateTimeFormat(undefined, CLOCK);
const WITH_DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

function ticks(splits: number[], step: number): string[] {
  const format = step < 60 ? WITH_SECONDS : WITH_MINUTES;
  let day = "";
  return splits.map((at) => {
    const date = new Date(at * 1_000);
    const its = WITH_DAY.format(date);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    const named = step >= DAY || (midnight && its !== day);
    day = its;
    return named ? its : format.format(date);
  });
}

const variable = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The same colour, nearly transparent. */
const pale = (colour: string) => `${colour}1f`;

function options(props: () => Props, width: number, point: (plot: uPlot) => void): uPlot.Options {
  const { drawn, height, binary } = props();
  const soft = variable("--text-soft");
  const line = variable("--line");
  const font = `11px ${variable("--font")}`;
  return {
    width,
    height,
    padding: [10, 22, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      sync: { key: SYNC },
      drag: { x: true, y: false, setScale: false, dist: 6 },
      points: { size: 7 },
    },
    scales: {
      x: { time: true, range: () => props().ends },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.12 : 1] },
    },
    axes: [
      {
        stroke: soft,
        font,
        size: 26,
        gap: 4,
        // Seconds are told only of short times.
        space: (_, __, from, to) => (to - from < 200 ? 76 : 52),
        grid: { show: false },
        ticks: { stroke: line, size: 4 },
        values: (_, splits, __, ___, step) => ticks(splits, step),
      },
      {
        stroke: soft,
        font,
        size: 62,
        gap: 6,
        space: 28,
        grid: { stroke: line, width: 1 },
        ticks: { show: false },
        ...(binary && { incrs: POWERS }),
        values: (_, splits) => splits.map((it) => props().show(it)),
      },
    ],
    series: [
      {},
      ...drawn.map(({ hue, filled }, index) => {
        const colour = variable(`--${hue}`);
        return {
          stroke: colour,
          width: 1.5,
          dash: DASHES[index % DASHES.length] ?? [],
          points: { show: (plot: uPlot, its: number) => alone(plot.data[its] ?? []), size: 4, fill: colour },
          ...(filled && { fill: pale(colour) }),
        };
      }),
    ],
    hooks: {
      setCursor: [point],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 6) return;
          const [from, to] = [left, left + width].map((it) => Math.round(plot.posToVal(it, "x") * 1_000));
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          if (from !== undefined && to !== undefined) props().zoom(from, to);
        },
      ],
    },
  };
}

/** One value between gaps makes no line. */
function alone(values: ArrayLike<number | null | undefined>): boolean {
  let found = 0;
  for (let at = 0; at < values.length; at += 1) if (typeof values[at] === "number") found += 1;
  return found > 0 && found < 4;
}

export default function Plot(props: Props) {
  const { times, drawn, ends, pointed, height } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const latest = useRef(props);
  const byKeys = useRef(false);
  latest.current = props;
  const dark = useStore(theme);
  const shape = drawn.map(({ hue, filled }) => `${hue}${filled}`).join(" ");

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const { times, drawn } = latest.current;
    const data = [times, ...drawn.map((it) => it.values)] as uPlot.AlignedData;
    const point = (it: uPlot) => {
      // While keys point, only a mouse over it takes their place.
      if (byKeys.current || (latest.current.pointed !== null && !element.matches(":hover"))) return;
      latest.current.point(it.cursor.idx ?? null);
    };
    const made = new uPlot(options(() => latest.current, Math.max(120, element.clientWidth), point), data, element);
    plot.current = made;
    const watching = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      if (width > 0 && width !== made.width) made.setSize({ width, height: made.height });
    });
    watching.observe(element);
    return () => {
      watching.disconnect();
      made.destroy();
      plot.current = undefined;
    };
    // What it is made of anew: other lines, or other colours.
  }, [shape, dark, height]);

  useEffect(() => {
    plot.current?.setData([times, ...drawn.map((it) => it.values)] as uPlot.AlignedData);
  }, [times, drawn, ends]);

  useEffect(() => {
    const at = pointed === null ? undefined : times[pointed];
    const it = plot.current;
    if (!it || at === undefined) return;
    byKeys.current = true;
    it.setCursor({ left: it.valToPos(at, "x"), top: 10 });
    byKeys.current = false;
  }, [pointed, times]);

  return <div ref={box} className="plot" aria-hidden="true" style={{ minHeight: height }} />;
}
