// The head of a column by which a list can be sorted.
import { turn, usePlace } from "../route/route";

export interface Order<By extends string> {
  by: By;
  direction: "ASC" | "DESC";
}

/** Of the address: `-` before a name means downwards. */
export function useOrder<By extends string>(known: readonly By[], otherwise: Order<By>): Order<By> {
  const text = usePlace().query.get("sort") ?? "";
  const by = known.find((it) => it === text.replace(/^-/, ""));
  return by ? { by, direction: text.startsWith("-") ? "DESC" : "ASC" } : otherwise;
}

export function Sorted<By extends string>({ by, order, children }: { by: By; order: Order<By>; children: string }) {
  const is = order.by === by;
  const up = order.direction === "ASC";
  const next = is && !up ? by : `-${by}`;
  return (
    <th scope="col" aria-sort={is ? (up ? "ascending" : "descending") : "none"}>
      <button type="button" onClick={() => turn({ sort: next, page: null })}>
        {children} <span aria-hidden="true">{is ? (up ? "↑" : "↓") : "↕"}</span>
      </button>
    </th>
  );
}
