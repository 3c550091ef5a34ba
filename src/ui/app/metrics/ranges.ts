// The time that charts show: it stands in the address, so that what one sees can be sent to somebody.
import { useMemo } from "react";
import { usePlace } from "../route/route";
import { intervalFor, type Span } from "./windows";

const MINUTE = 60_000;

/** Lengths in milliseconds, by their names in the address. */
export const RANGES = {
  "5m": 5 * MINUTE,
  "15m": 15 * MINUTE,
  "1h": 60 * MINUTE,
  "6h": 360 * MINUTE,
  "24h": 1_440 * MINUTE,
  "7d": 10_080 * MINUTE,
} as const;
export type RangeName = keyof typeof RANGES;

/** From when to when something was there; not known of what is always there. */
export interface Life {
  begin: string;
  end: string | null | undefined;
}

export interface Chosen {
  /** `run`: the life of what is shown; `part`: what was drawn out of a chart. */
  name: RangeName | "run" | "part";
  /** In whole windows up to now, as of `now`. */
  span: Span;
}

function ofLife({ begin, end }: Life, now: number): Span {
  const from = Date.parse(begin);
  const until = end ? Date.parse(end) : null;
  const interval = intervalFor((until ?? now) - from);
  return { from, to: until, interval };
}

/** What the address says, else the life, else an hour. `now` in milliseconds since 1970. */
export function useRange(life: Life | undefined, now: number): Chosen {
  const { query } = usePlace();
  const [name, from, to] = ["range", "from", "to"].map((it) => query.get(it));
  const begin = life?.begin;
  const end = life?.end;
  // Of the present time only whole seconds matter.
  const second = Math.floor(now / 1_000) * 1_000;
  return useMemo(() => {
    const [since, until] = [Number(from), Number(to)];
    if (from && to && until > since) return { name: "part", span: { from: since, to: until, interval: intervalFor(until - since) } };
    if (name && name in RANGES) return recent(name as RangeName, second);
    if (begin) return { name: "run", span: ofLife({ begin, end }, second) };
    return recent("1h", second);
  }, [name, from, to, begin, end, second]);
}

function recent(name: RangeName, now: number): Chosen {
  const length = RANGES[name];
  return { name, span: { from: now - length, to: null, interval: intervalFor(length) } };
}
