// The one WebSocket of the page: what changes comes over it. A lost connection is opened again, and each subscription
// goes on after the last token that it was given, so that nothing is missed.
import { type Client, createClient } from "graphql-ws";
import type { TypedDocumentString } from "../gen/graphql";
import { Problem } from "./problem";
import { authorization, token } from "./session";
import { store } from "./store";

export type Link = "connecting" | "open" | "down";

export const link = store<Link>("connecting");

/** Milliseconds between two pings, and how long an answer to one may take. */
const PING = 8_000;
const PONG = 4_000;
/** Milliseconds before a lost connection is tried again: less the first time. */
const FIRST_WAIT = 300;
const LONGEST_WAIT = 3_000;

/** The server's close code for a token that it does not take: it will not take it later either. */
const FORBIDDEN = 4403;
const isRefusal = (why: unknown) => typeof why === "object" && why !== null && "code" in why && why.code === FORBIDDEN;

function open(): Client {
  let answering: ReturnType<typeof setTimeout> | undefined;
  const opened: Client = createClient({
    url: `${location.origin.replace(/^http/, "ws")}/graphql`,
    connectionParams: () => authorization(),
    lazy: false,
    retryAttempts: Number.POSITIVE_INFINITY,
    shouldRetry: (why) => !isRefusal(why),
    retryWait: (tried) =>
      new Promise((resolve) => {
        setTimeout(resolve, Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tried) * (0.75 + Math.random() / 2));
      }),
    keepAlive: PING,
    // It gave up, which it does at some codes: another begins anew, unless the token is no good.
    onNonLazyError: (why) => {
      if (client !== opened) return;
      client = undefined;
      if (!isRefusal(why)) setTimeout(current, LONGEST_WAIT);
    },
    on: {
      connected: () => link.set("open"),
      closed: () => {
        clearTimeout(answering);
        if (client === opened) link.set("down");
      },
      // A connection that is dead without having been closed shows by its silence.
      ping: (received) => {
        if (!received) answering = setTimeout(() => opened.terminate(), PONG);
      },
      pong: (received) => {
        if (received) clearTimeout(answering);
      },
    },
  });
  return opened;
}

let client: Client | undefined;

/** The client of the present token. */
function current(): Client {
  client ??= open();
  return client;
}

token.follow(() => {
  const last = client;
  client = undefined;
  link.set("connecting");
  // It may be refused at that very moment, which matters no more.
  Promise.resolve(last?.dispose()).catch(() => {});
  current();
});

/** Opens the connection, so that the page knows how it stands before anything is followed. */
export const connect = (): void => void current();

interface Item {
  position?: string;
}

/** What follows gives: items, or why there are no more. */
export interface Follower<R> {
  item(item: R): void;
  /** It could not go on from where it was: ask anew, then follow from now on. */
  gap(problem: Problem): void;
}

/** Follows until the function that it gives is called. */
export function follow<R extends object, V extends Record<string, unknown>>(
  document: TypedDocumentString<R, V>,
  variables: V,
  follower: Follower<R>,
): () => void {
  // The client sends this object anew after each reconnect: the token in it is kept up to date.
  const asked: V & { after?: string } = { ...variables };
  let stopped = false;
  const stop = current().subscribe<R>(
    { query: document.toString(), variables: asked },
    {
      next(answer) {
        const [first] = answer.errors ?? [];
        if (first) follower.gap(Problem.of(first));
        if (!answer.data) return;
        const [item] = Object.values(answer.data) as Item[];
        if (item?.position) asked.after = item.position;
        follower.item(answer.data);
      },
      error(error) {
        if (stopped) return;
        const [first] = Array.isArray(error) ? (error as { message: string }[]) : [];
        follower.gap(first ? Problem.of(first) : Problem.from(error));
      },
      complete() {},
    },
  );
  return () => {
    stopped = true;
    stop();
  };
}
