// How fresh what is shown is: whether the last question of each view was answered, and when.
import { link } from "./socket";
import { store, useStore } from "./store";

/** Since when each question that is shown has not been answered; by its key. */
const failing = store<ReadonlyMap<string, number>>(new Map());

export function answered(key: string): void {
  if (!failing.get().has(key)) return;
  const next = new Map(failing.get());
  next.delete(key);
  failing.set(next);
}

/** `last`: when it was answered for the last time. */
export function unanswered(key: string, last: number): void {
  if (failing.get().has(key)) return;
  failing.set(new Map(failing.get()).set(key, last));
}

export type Freshness =
  | { kind: "live" }
  | { kind: "connecting" }
  /** Asked every few seconds, because nothing comes by itself. */
  | { kind: "polling" }
  | { kind: "stale"; since: number };

export function useFreshness(): Freshness {
  const state = useStore(link);
  const since = [...useStore(failing).values()];
  if (since.length > 0) return { kind: "stale", since: Math.min(...since) };
  if (state === "open") return { kind: "live" };
  return { kind: state === "down" ? "polling" : "connecting" };
}
