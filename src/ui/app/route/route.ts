// Where the page is: every view has an address that can be sent to somebody.
import { store, useStore } from "../data/store";

export interface Place {
  path: string;
  query: URLSearchParams;
}

const here = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search) });

const place = store<Place>(here());
addEventListener("popstate", () => place.set(here()));

export const usePlace = (): Place => useStore(place);

export function go(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  const left = place.get().path;
  place.set(here());
  if (place.get().path !== left) scrollTo(0, 0);
}

/** The address with other parameters; `null` takes one away. */
export function withQuery({ path, query }: Place, changes: Record<string, string | string[] | null>): string {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one !== null && one !== "") next.append(name, one);
  }
  const text = next.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Changes parameters of the present view. */
export const turn = (changes: Record<string, string | string[] | null>): void =>
  go(withQuery(place.get(), changes), "replace");

/** A whole number of the address, within bounds. */
export function whole(query: URLSearchParams, name: string, otherwise: number, least: number, most: number): number {
  const number = Number(query.get(name) ?? "");
  return Number.isInteger(number) && number >= least && number <= most ? number : otherwise;
}
