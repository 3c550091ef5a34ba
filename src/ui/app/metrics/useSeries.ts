// Points of metrics for as long as they are shown: those of the span first, then each that is new or has changed.
import { useEffect, useMemo, useState } from "react";
import type { Problem } from "../data/problem";
import { useAnswer } from "../data/useAnswer";
import { useFollowing } from "../data/useFollowing";
import type { Chosen } from "./ranges";
import { METRICS, METRICS_FOLLOWED, type Question } from "./query";
import { type Line, lines, merged } from "./windows";

export interface Series {
  lines: Line[];
  /** There are more points than one answer holds: the oldest are missing. */
  truncated: boolean;
  problem: Problem | undefined;
  /** Nothing has been answered yet. */
  waiting: boolean;
  /** The length of a window in milliseconds: longer than asked for where only that is kept. */
  interval: number;
}

/** Milliseconds after an end in which the last points of it may come, and between two looks for them. */
const LATE = 30_000;
const AGAIN = 2_000;
/** What is older than a week, or metrics.raw_days, is kept in windows of five minutes. */
const COARSE = 300_000;
const OLD = 6.5 * 86_400_000;

/** `coarse`: the server has only such windows of that time. */
function spanOf({ name, span }: Chosen, coarse: boolean): { from: string; to: string; interval: number } {
  const old = coarse || Date.now() - span.from > OLD;
  const interval = old ? Math.max(COARSE, Math.ceil(span.interval / COARSE) * COARSE) : span.interval;
  const recent = name !== "run" && name !== "part";
  const from = recent ? `-${name}` : new Date(Math.floor(span.from / interval) * interval).toISOString();
  // The last point is of the end itself.
  const to = span.to === null ? "now" : new Date(span.to + interval).toISOString();
  return { from, to, interval };
}

export function useSeries(question: Question | null, chosen: Chosen): Series {
  const begin = chosen.name === "run" || chosen.name === "part" ? String(chosen.span.from) : chosen.name;
  const [coarse, setCoarse] = useState<string>();
  const { from, to, interval } = spanOf(chosen, coarse === begin);
  const key = JSON.stringify([question, from, to, interval]);
  const asked = useMemo(() => {
    if (question === null) return null;
    const { metrics, tags, groupBy, aggregation } = question;
    const filter = {
      metrics: [...metrics],
      groupBy: [groupBy],
      ...(tags && { tags: tags.map((it) => ({ key: it.key, values: [...it.values] })) }),
      ...(aggregation && { aggregation }),
    };
    return { filter, from, to, interval: `${interval / 1_000}s` };
    // oxlint-disable-next-line react/exhaustive-deps -- the key says all of it
  }, [key]);
  const shown = useAnswer(METRICS, asked);
  const refused = shown.problem?.message.includes("multiple of 5m") ?? false;
  useEffect(() => {
    if (refused) setCoarse(begin);
  }, [refused, begin]);
  const followed = useMemo(() => {
    if (asked === null || to !== "now") return null;
    // Whole windows: a part of one would take the place of the whole one.
    const begin = Math.floor(Date.now() / interval) * interval - interval;
    return { filter: asked.filter, interval: asked.interval, from: new Date(begin).toISOString() };
  }, [asked, to, interval]);
  useFollowing(
    METRICS_FOLLOWED,
    followed,
    ({ metrics: { dataPoints } }) => {
      // What has gone out of sight is let go.
      const since = new Date(chosen.span.from - interval).toISOString();
      shown.patch(({ metrics }) => ({
        metrics: { ...metrics, dataPoints: merged(metrics.dataPoints, dataPoints).filter((it) => it.timestamp >= since) },
      }));
    },
    shown.refresh,
  );
  const { refresh } = shown;
  const end = chosen.span.to;
  useEffect(() => {
    const left = end === null ? 0 : end + LATE - Date.now();
    if (left <= 0) return undefined;
    const timer = setInterval(refresh, AGAIN);
    const enough = setTimeout(() => clearInterval(timer), left);
    return () => {
      clearInterval(timer);
      clearTimeout(enough);
    };
  }, [end, refresh]);
  const points = shown.data?.metrics.dataPoints;
  const groupBy = question?.groupBy ?? "";
  const found = useMemo(() => lines(points ?? [], groupBy), [points, groupBy]);
  return {
    lines: found,
    truncated: shown.data?.metrics.truncated ?? false,
    problem: shown.problem,
    waiting: shown.data === undefined && shown.problem === undefined,
    interval,
  };
}
