// A connection without a client, to do by hand what the reference client would never do.
import { once } from "node:events";
import { load, url } from "./modules.mjs";

export const WebSocket = load("ws");
export const address = `${url.replace(/^http/, "ws")}/graphql`;

/** A connection: what it says, and how it is closed. */
export async function raw(protocol = "graphql-transport-ws") {
  const socket = new WebSocket(address, protocol ? [protocol] : [], { handshakeTimeout: 5000 });
  const said = [];
  const waiting = [];
  socket.on("message", (data) => {
    const message = JSON.parse(data.toString());
    const next = waiting.shift();
    if (next) next(message);
    else said.push(message);
  });
  const closed = new Promise((resolve) =>
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  socket.on("error", () => {});
  await once(socket, "open");
  return {
    socket,
    closed,
    send: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
    next: () => (said.length ? Promise.resolve(said.shift()) : new Promise((resolve) => waiting.push(resolve))),
    said,
  };
}

export const events = (id, more = "") => ({
  type: "subscribe",
  id,
  payload: { query: `subscription { events${more} { position } }` },
});
