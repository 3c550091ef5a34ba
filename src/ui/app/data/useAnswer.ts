// What a view shows of the server: asked at once, and again while it is shown.
import { useCallback, useEffect, useRef, useState } from "react";
import type { TypedDocumentString } from "../gen/graphql";
import { ask } from "./ask";
import { answered, unanswered } from "./freshness";
import { Problem } from "./problem";
import { token } from "./session";
import { link } from "./socket";
import { useStore } from "./store";

/** Milliseconds between two questions when nothing comes by itself. */
export const REFRESH = 5_000;

export interface Shown<R> {
  /** The last answer; of the question before while a new one is under way. */
  data: R | undefined;
  /** Why the last question was not answered. */
  problem: Problem | undefined;
  /** What is shown is of another question. */
  loading: boolean;
  /** When it was last answered, in milliseconds since 1970; 0: never. */
  at: number;
  refresh(): void;
  /** Puts what has come by itself into what is shown. */
  patch(change: (data: R) => R): void;
}

interface Held<R> {
  key: string;
  data: R | undefined;
  problem: Problem | undefined;
  at: number;
}

/** `always`: every 5 s; else only while the socket is down. `null` asks nothing. */
export function useAnswer<R, V>(
  document: TypedDocumentString<R, V>,
  variables: V | null,
  refreshing: "always" | "when down" = "when down",
): Shown<R> {
  const shown = useStore(token);
  const key = JSON.stringify([document.toString().slice(0, 60), variables, shown]);
  const [held, setHeld] = useState<Held<R>>({ key: "", data: undefined, problem: undefined, at: 0 });
  const state = useStore(link);
  const latest = useRef({ document, variables });
  latest.current = { document, variables };
  const under = useRef<AbortController | undefined>(undefined);

  const again = useRef(false);
  const repeat = useRef(() => {});

  const refresh = useCallback(() => {
    const { document, variables } = latest.current;
    if (variables === null) return;
    // One that is under way is let come to its end: where answers take long, there would never be one.
    if (under.current !== undefined && !under.current.signal.aborted) {
      again.current = true;
      return;
    }
    const stop = new AbortController();
    under.current = stop;
    again.current = false;
    const take = (answer: () => void) => {
      if (stop.signal.aborted) return;
      under.current = undefined;
      answer();
      if (again.current) repeat.current();
    };
    ask(document, variables, stop.signal).then(
      (data) =>
        take(() => {
          answered(key);
          setHeld({ key, data, problem: undefined, at: Date.now() });
        }),
      (error: unknown) =>
        take(() => {
          const problem = Problem.from(error);
          setHeld((held) => {
            if (problem.code === "UNREACHABLE") unanswered(key, held.at || Date.now());
            const data = problem.code === "UNREACHABLE" || held.key === key ? held.data : undefined;
            return { key, data, problem, at: held.at };
          });
        }),
    );
  }, [key]);
  repeat.current = refresh;

  useEffect(() => {
    refresh();
    return () => {
      under.current?.abort();
      answered(key);
    };
  }, [refresh, key]);

  const failing = held.problem?.code === "UNREACHABLE";
  const polls = refreshing === "always" || state !== "open" || failing;
  useEffect(() => {
    if (!polls) return undefined;
    const timer = setInterval(() => {
      if (globalThis.document.visibilityState === "visible") refresh();
    }, REFRESH);
    return () => clearInterval(timer);
  }, [polls, refresh]);

  // What was missed while nobody looked, or while the socket was down, is asked for at once; and when it has gone down,
  // to see why.
  const before = useRef(state);
  useEffect(() => {
    const [was, is] = [before.current, state];
    before.current = state;
    if ((was === "down" && is === "open") || (was === "open" && is === "down")) refresh();
  }, [state, refresh]);
  useEffect(() => {
    const seen = () => globalThis.document.visibilityState === "visible" && refresh();
    globalThis.document.addEventListener("visibilitychange", seen);
    return () => globalThis.document.removeEventListener("visibilitychange", seen);
  }, [refresh]);

  const patch = useCallback((change: (data: R) => R) => {
    setHeld((held) => (held.data === undefined ? held : { ...held, data: change(held.data), at: Date.now() }));
  }, []);

  return {
    data: held.data,
    problem: held.key === key ? held.problem : undefined,
    loading: held.key !== key,
    at: held.at,
    refresh,
    patch,
  };
}
