// What comes by itself, for as long as the view is shown.
import { useCallback, useEffect, useRef } from "react";
import type { TypedDocumentString } from "../gen/graphql";
import { token } from "./session";
import { follow } from "./socket";
import { useStore } from "./store";

/** Milliseconds before a subscription that could not go on is begun anew. */
const AGAIN = 2_000;

/** `null` follows nothing. `gap`: something may have been missed. */
export function useFollowing<R extends object, V extends Record<string, unknown>>(
  document: TypedDocumentString<R, V>,
  variables: V | null,
  item: (item: R) => void,
  gap: () => void,
): void {
  const key = JSON.stringify([variables, useStore(token)]);
  const latest = useRef({ item, gap, variables });
  latest.current = { item, gap, variables };
  useEffect(() => {
    const { variables } = latest.current;
    if (variables === null) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stop = () => {};
    const begin = () => {
      stop = follow(document, variables, {
        item: (it) => latest.current.item(it),
        gap: () => {
          stop();
          timer = setTimeout(() => {
            latest.current.gap();
            begin();
          }, AGAIN);
        },
      });
    };
    begin();
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [document, key]);
}

/** Calls at most once in so many milliseconds, the last time after the last call. */
export function useThrottled(call: () => void, milliseconds: number): () => void {
  const latest = useRef(call);
  latest.current = call;
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const throttled = useRef(() => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      latest.current();
    }, milliseconds);
  });
  return throttled.current;
}

/** Gathers what comes for so many milliseconds, and hands over all of it at once: much may come. */
export function useGathered<T>(take: (items: T[]) => void, milliseconds: number): (item: T) => void {
  const gathered = useRef<T[]>([]);
  const hand = useThrottled(() => take(gathered.current.splice(0)), milliseconds);
  return useCallback(
    (item) => {
      gathered.current.push(item);
      hand();
    },
    [hand],
  );
}
