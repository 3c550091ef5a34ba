// What the nodes of a pipeline did in the time that is shown.
import { useMemo } from "react";
import type { Problem } from "../data/problem";
import type { Question } from "../metrics/query";
import type { Chosen } from "../metrics/ranges";
import { useSeries } from "../metrics/useSeries";
import { windows } from "../metrics/windows";
import type { Pipeline } from "./document";

const METRICS = {
  node_input_events: "taken",
  node_output_events: "given",
  node_errors: "failed",
  node_input_bytes: "bytesRead",
  node_output_bytes: "bytesWritten",
} as const;
export type Figure = (typeof METRICS)[keyof typeof METRICS];

/** Replicas that are told by their numbers when other pipelines of the job have nodes of the same names. */
const MOST_TOLD = 1_000;
const SECOND = 1_000;
/** Windows of which a present rate is made. */
const PRESENT = 3;

export interface Numbers {
  /** Of the whole time that is shown. */
  sums: Record<Figure, number>;
  /** By second: of the last moments, or of the whole time when it is over. */
  rates: Record<Figure, number>;
  /** By second, by the beginning of their windows in milliseconds since 1970. */
  values: Record<Figure, ReadonlyMap<number, number>>;
}

export const NONE: Numbers = {
  sums: { taken: 0, given: 0, failed: 0, bytesRead: 0, bytesWritten: 0 },
  rates: { taken: 0, given: 0, failed: 0, bytesRead: 0, bytesWritten: 0 },
  values: { taken: new Map(), given: new Map(), failed: new Map(), bytesRead: new Map(), bytesWritten: new Map() },
};

function questionOf(jobId: string, of: Pipeline, others: readonly Pipeline[]): Question {
  const ids = new Set(of.nodes.map(({ id }) => id));
  const mixed = others.some((it) => it !== of && it.nodes.some(({ id }) => ids.has(id)));
  const task = (index: number) => `${jobId.replace(/^job-/, "task-")}-${of.first + index}`;
  const replicas = Array.from({ length: Math.min(of.replicas, MOST_TOLD) }, (_, index) => task(index));
  const tags = [{ key: "job_id", values: [jobId] }, ...(mixed ? [{ key: "task_id", values: replicas }] : [])];
  return { metrics: Object.keys(METRICS), tags, groupBy: "node_id", aggregation: "SUM" };
}

export interface Told {
  of: ReadonlyMap<string, Numbers>;
  interval: number;
  problem: Problem | undefined;
}

/** By the ids of nodes. */
export function useNumbers(jobId: string, pipeline: Pipeline, all: readonly Pipeline[], chosen: Chosen, now: number): Told {
  const question = useMemo(() => questionOf(jobId, pipeline, all), [jobId, pipeline, all]);
  const { lines, interval, problem } = useSeries(question, chosen);
  const { from, to } = chosen.span;
  const second = Math.floor(now / SECOND) * SECOND;
  const of = useMemo(() => {
    const recent = new Set(windows({ from, to, interval }, second, true).slice(-PRESENT));
    const length = (to ?? second) - from;
    const found = new Map<string, Numbers>();
    for (const { metric, group, values } of lines) {
      const figure = METRICS[metric as keyof typeof METRICS];
      const known = found.get(group) ?? NONE;
      const added = [...values.values()].reduce((sum, value) => sum + value, 0);
      const present = [...recent].reduce((sum, at) => sum + (values.get(at) ?? 0), 0);
      const rate = to === null ? (present * SECOND) / (interval * Math.max(1, recent.size)) : (added * SECOND) / Math.max(1, length);
      const byWindow = new Map([...values].map(([at, value]) => [at, (value * SECOND) / interval]));
      found.set(group, {
        sums: { ...known.sums, [figure]: added },
        rates: { ...known.rates, [figure]: rate },
        values: { ...known.values, [figure]: byWindow },
      });
    }
    return found;
  }, [lines, interval, from, to, second]);
  return { of, interval, problem };
}
