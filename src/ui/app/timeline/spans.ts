// Attempts as spans of time.
import { span as inWords } from "../design/Time";
import type { TimedAttempt, TimedTask } from "./query";

export type Outcome = "SCHEDULED" | "RUNNING" | "COMPLETED" | "FAILED";

/** Times in milliseconds since 1970. */
export interface Bar {
  attempt: number;
  outcome: Outcome;
  reason: string | undefined;
  workerId: string | null | undefined;
  scheduled: number;
  /** It never ran: it came back, or its worker was lost before. */
  started: number | undefined;
  end: number;
  /** When the next attempt was given to a worker, or will be tried; it waits until then. */
  again: number | undefined;
}

export interface Row {
  id: string;
  name: string;
  state: string;
  bars: Bar[];
}

const time = (text: string | null | undefined) => (text ? Date.parse(text) : undefined);

function outcome(it: TimedAttempt): Outcome {
  if (it.failure) return "FAILED";
  if (it.finishedAt) return "COMPLETED";
  return it.startedAt ? "RUNNING" : "SCHEDULED";
}

export function rowOf(task: TimedTask, now: number): Row {
  const attempts = task.attempts;
  const bars = attempts.map((it, index): Bar => {
    const scheduled = time(it.scheduledAt) ?? time(it.startedAt) ?? time(it.finishedAt) ?? now;
    const failed = outcome(it) === "FAILED";
    const next = attempts[index + 1];
    return {
      attempt: it.attempt,
      outcome: outcome(it),
      reason: it.failure?.reason,
      workerId: it.workerId,
      scheduled,
      started: time(it.startedAt),
      end: time(it.finishedAt) ?? Math.max(now, scheduled),
      again: failed ? (next ? time(next.scheduledAt) : time(task.nextRetryAt)) : undefined,
    };
  });
  return { id: task.taskId, name: task.externalId, state: task.state, bars };
}

/** What an attempt was, in words. */
export function told(row: Row, it: Bar): string {
  const ended = it.outcome === "FAILED" ? `FAILED (${it.reason})` : it.outcome;
  const waited = `waited ${inWords((it.started ?? it.end) - it.scheduled)}`;
  const ran = it.started === undefined ? "never ran" : `ran ${inWords(it.end - it.started)}`;
  return `${row.name}, attempt ${it.attempt}: ${ended}, ${waited}, ${ran}${it.workerId ? `, on ${it.workerId}` : ""}`;
}

export interface View {
  from: number;
  to: number;
}

/** All that there is, with a little room. */
export function whole(rows: readonly Row[], created: number, until: number): View {
  const bars = rows.flatMap((row) => row.bars);
  const last = bars.reduce((most, it) => Math.max(most, it.end), until);
  const room = Math.max(200, 0.02 * (last - created));
  return { from: created - room / 2, to: last + room };
}

/** How many attempts run: a step for each that begins or ends. */
export function running(rows: readonly Row[]): { steps: [number, number][]; most: number } {
  const changes = rows
    .flatMap(({ bars }) => bars.flatMap((it): [number, number][] => (it.started === undefined ? [] : [[it.started, 1], [it.end, -1]])))
    .toSorted((a, b) => a[0] - b[0] || b[1] - a[1]);
  let [count, most] = [0, 0];
  const steps = changes.map(([at, change]): [number, number] => {
    count += change;
    most = Math.max(most, count);
    return [at, count];
  });
  return { steps, most };
}

const STEPS = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800];

/** Where an axis has its marks: the time since `zero`, in milliseconds. */
export function marks({ from, to }: View, zero: number, room: number): number[] {
  const least = (to - from) / Math.max(1, room) / 1_000;
  const step = 1_000 * (STEPS.find((it) => it >= least) ?? 604_800 * Math.ceil(least / 604_800));
  const found: number[] = [];
  for (let at = Math.max(0, Math.ceil((from - zero) / step) * step); at + zero <= to; at += step) found.push(at);
  return found;
}

/** A time since the beginning, exact enough for marks of an axis. */
export function since(milliseconds: number): string {
  const seconds = milliseconds / 1_000;
  if (seconds < 60) return `${Number(seconds.toFixed(2))} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}:${String(Math.floor((seconds % 3_600) / 60)).padStart(2, "0")} h`;
  return `${Number((seconds / 86_400).toFixed(1))} d`;
}
