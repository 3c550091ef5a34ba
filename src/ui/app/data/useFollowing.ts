// What comes by itself, for as long as the view is shown.
import { useCallback, useEffect, useRef } from "react";
import type { TypedDocumentString } from "../gen/graphql";
import { token } from "./session";
import { follow, link } from "./socket";
import { useStore } from "./store";

/** Milliseconds before a subscription that could not go on is begun anew. */
const AGAIN = 2_000;
/** Milliseconds after which a subscription has begun, as a rule; its first item proves it. */
const BEGUN = 1_000;

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
    let asking: ReturnType<typeof setTimeout> | undefined;
    let stop = () => {};
    // What happened between the answer that is shown and the beginning of what follows comes with neither: it is asked
    // for, but not so soon that it would keep the first answer from coming.
    const catchUp = () => {
      clearTimeout(asking);
      asking = setTimeout(() => latest.current.gap(), BEGUN);
    };
    const begin = () => {
      let proved = false;
      catchUp();
      stop = follow(document, variables, {
        item: (it) => {
          if (!proved) catchUp();
          proved = true;
          latest.current.item(it);
        },
        gap: () => {
          stop();
          clearTimeout(asking);
          timer = setTimeout(() => {
            latest.current.gap();
            begin();
          }, AGAIN);
        },
      });
    };
    begin();
    const unfollow = link.follow(() => link.get() === "open" && catchUp());
    return () => {
      unfollow();
      clearTimeout(timer);
      clearTimeout(asking);
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
