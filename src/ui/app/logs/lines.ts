// Lines that tasks wrote: those that are kept, page by page backwards, and those that come.
import { authorization } from "../data/session";
import { Problem } from "../data/problem";
import { graphql } from "../gen";
import type { LogsTailSubscription } from "../gen/graphql";

export const TAIL = graphql(`
  subscription LogsTail($filter: LogFilter, $after: String) {
    logs(filter: $filter, after: $after) { position line { at level message taskId attempt stream } }
  }
`);

export type Line = NonNullable<LogsTailSubscription["logs"]["line"]>;

/** Whose lines, and which of them. */
export interface Asked {
  jobIds?: string[];
  taskIds?: string[];
  workerIds?: string[];
  levels?: string[];
  query?: string;
}

/** Of the filter, as REST names it. */
export function parameters(asked: Asked): URLSearchParams {
  const all = new URLSearchParams();
  for (const id of asked.jobIds ?? []) all.append("job_id", id);
  for (const id of asked.taskIds ?? []) all.append("task_id", id);
  for (const id of asked.workerIds ?? []) all.append("worker_id", id);
  for (const level of asked.levels ?? []) all.append("level", level);
  if (asked.query) all.append("query", asked.query);
  return all;
}

interface Found {
  lines: { "@timestamp": string; level: string; message: string; task_id: string; attempt: number; stream: string }[];
  nextCursor: string | null;
}

export interface Earlier {
  /** The oldest first. */
  lines: Line[];
  /** Goes on further back; `null`: there are no more. */
  cursor: string | null;
}

/** Milliseconds before the last line, as far back as lines are looked for. */
const REACH = 30 * 86_400_000;
/** REST gives as many as 10,000 at once; GraphQL 500, which is few for a log. */
const PAGE = 5_000;

/** The last lines before a time, or before those of the page with this cursor. */
export async function earlier(asked: Asked, to: string, cursor: string | null, stop: AbortSignal): Promise<Earlier> {
  const query = parameters(asked);
  query.set("from", new Date((to === "now" ? Date.now() : Date.parse(to)) - REACH).toISOString());
  query.set("to", to);
  query.set("limit", String(PAGE));
  if (cursor !== null) query.set("cursor", cursor);
  const answer = await fetch(`/api/v1/logs/search?${query}`, { headers: authorization(), signal: stop });
  const body: unknown = await answer.json();
  if (!answer.ok) {
    const { detail, code } = body as { detail?: string; code?: string };
    throw new Problem(detail ?? answer.statusText, code ?? "UNKNOWN");
  }
  const { lines, nextCursor } = body as Found;
  const read = lines.map((it) => ({
    at: it["@timestamp"],
    level: it.level,
    message: it.message,
    taskId: it.task_id,
    attempt: it.attempt,
    stream: it.stream,
  }));
  return { lines: read.toReversed(), cursor: nextCursor };
}

/** Of a line that has no id. */
export const sameness = ({ at, taskId, attempt, stream, message }: Line): string =>
  [at, taskId, attempt, stream, message].join("\0");
