// The lines of a viewer: what is kept, and what comes while it tails.
import { useCallback, useEffect, useRef, useState } from "react";
import { Problem } from "../data/problem";
import { useStore } from "../data/store";
import { link } from "../data/socket";
import { REFRESH } from "../data/useAnswer";
import { useFollowing } from "../data/useFollowing";
import { type Asked, earlier, type Line, sameness, TAIL } from "./lines";

/** The most that a browser is asked to hold; the oldest go. */
const MOST = 200_000;
/** Milliseconds in which what comes is gathered before it is shown. */
const GATHER = 100;
/** Lines among which one that has come by two ways is looked for: more than one answer has. */
const NEAR = 10_000;

/** With those that are not there yet, by their time; of later than `until` none is there. */
function joined(lines: Line[], come: Line[], until: string): Line[] {
  if (come.every(({ at }) => at > until)) return [...lines, ...come].slice(-MOST);
  const near = lines.slice(-NEAR);
  const known = new Set(near.map(sameness));
  near.push(...come.filter((it) => it.at > until || !known.has(sameness(it))));
  near.sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at)));
  return [...lines.slice(0, -NEAR), ...near].slice(-MOST);
}

/** The time of the latest: what comes by itself is in the order in which it was taken in. */
function latestOf(lines: Line[]): string {
  return lines.slice(-NEAR).reduce((latest, { at }) => (at > latest ? at : latest), "");
}

export interface Lines {
  lines: Line[];
  problem: Problem | undefined;
  loading: boolean;
  hasEarlier: boolean;
  /** How many lines were put before those that there were, in all. */
  prepended: number;
  more(): void;
}

/** `to`: lines up to then, without those that come; else all, and the tail. */
export function useLines(asked: Asked, to: string | null): Lines {
  const key = JSON.stringify([asked, to]);
  const [lines, setLines] = useState<Line[]>([]);
  const [prepended, setPrepended] = useState(0);
  const [problem, setProblem] = useState<Problem>();
  const [loading, setLoading] = useState(true);
  const [cursor, setCursor] = useState<string | null>(null);
  const latest = useRef({ asked, to });
  latest.current = { asked, to };
  const under = useRef<AbortController | undefined>(undefined);
  // What has been asked for may come by itself as well, a little later.
  const askedUntil = useRef("");

  const load = useCallback((from: string | null) => {
    const stop = new AbortController();
    under.current?.abort();
    under.current = stop;
    setLoading(true);
    earlier(latest.current.asked, latest.current.to ?? "now", from, stop.signal).then(
      (found) => {
        if (stop.signal.aborted) return;
        if (from === null) askedUntil.current = latestOf(found.lines);
        setLines((lines) => {
          // At the first page lines may have come already, which are in it as well.
          if (from !== null) return [...found.lines, ...lines];
          const known = new Set(found.lines.map(sameness));
          return [...found.lines, ...lines.filter((it) => !known.has(sameness(it)))];
        });
        setPrepended((count) => count + (from === null ? 0 : found.lines.length));
        setCursor(found.cursor);
        setProblem(undefined);
        setLoading(false);
      },
      (error: unknown) => {
        if (stop.signal.aborted) return;
        setProblem(Problem.from(error));
        setLoading(false);
      },
    );
  }, []);

  useEffect(() => {
    setLines([]);
    setPrepended(0);
    load(null);
    return () => under.current?.abort();
  }, [key, load]);

  // What does not come by itself, or came before anything could, is asked for.
  const catching = useRef<AbortController | undefined>(undefined);
  const catchUp = useCallback(() => {
    const stop = new AbortController();
    catching.current?.abort();
    catching.current = stop;
    earlier(latest.current.asked, "now", null, stop.signal).then(
      (found) => {
        if (stop.signal.aborted) return;
        setLines((lines) => joined(lines, found.lines, latestOf(lines)));
        askedUntil.current = latestOf(found.lines) || askedUntil.current;
      },
      // That nothing is answered is told for all views at once.
      () => {},
    );
  }, []);
  useEffect(() => () => catching.current?.abort(), [key]);
  const down = useStore(link) !== "open";
  useEffect(() => {
    if (!down || to !== null) return undefined;
    const timer = setInterval(catchUp, REFRESH);
    return () => clearInterval(timer);
  }, [down, to, catchUp]);

  const gathered = useRef<Line[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    gathered.current = [];
    return () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, [key]);
  useFollowing(
    TAIL,
    to === null ? { filter: asked } : null,
    ({ logs: { line } }) => {
      if (!line) return;
      gathered.current.push(line);
      timer.current ??= setTimeout(() => {
        timer.current = undefined;
        const come = gathered.current;
        gathered.current = [];
        const until = askedUntil.current;
        setLines((lines) => joined(lines, come, until));
      }, GATHER);
    },
    catchUp,
  );

  const more = useCallback(() => {
    if (cursor !== null && !loading) load(cursor);
  }, [cursor, loading, load]);
  return { lines, problem, loading, hasEarlier: cursor !== null, prepended, more };
}
