// The attempts of a job over time: which replicas ran when, which waited, failed and were tried again. Loaded when it is
// first shown; of a large job a page of tasks at a time.
import "./timeline.css";
import { useMemo, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { useFollowing, useThrottled } from "../data/useFollowing";
import { Chips, useChosen } from "../design/Chips";
import { Trouble } from "../design/Notice";
import { Pager, usePage } from "../design/Pager";
import { useNow } from "../design/Time";
import { TASK_STATES, TASKS_CHANGED } from "../job/query";
import { turn, usePlace } from "../route/route";
import { Lanes } from "./Lanes";
import { MOST_TASKS, TIMELINE } from "./query";
import { type Row, rowOf, type View, whole } from "./spans";

const PACE = 1_000;

const ORDERS = { number: "By number", start: "By start", length: "Longest first" } as const;
type Order = keyof typeof ORDERS;

const first = ({ bars }: Row) => bars[0]?.scheduled ?? Number.POSITIVE_INFINITY;
/** How long it ran, over all attempts. */
const length = ({ bars }: Row) => bars.reduce((sum, it) => sum + it.end - (it.started ?? it.end), 0);

function ordered(rows: Row[], by: Order): Row[] {
  switch (by) {
    case "start":
      return rows.toSorted((a, b) => first(a) - first(b));
    case "length":
      return rows.toSorted((a, b) => length(b) - length(a));
    default:
      return rows;
  }
}

const turnTo = (view: View | undefined) =>
  turn({ from: view ? String(Math.round(view.from)) : null, to: view ? String(Math.round(view.to)) : null });

interface Props {
  jobId: string;
  created: string;
  finished: string | null | undefined;
}

export default function TimelinePanel({ jobId, created, finished }: Props) {
  const asked = usePage(MOST_TASKS);
  const page = { ...asked, size: Math.min(asked.size, MOST_TASKS) };
  const states = useChosen("state", TASK_STATES);
  const filter = { jobId, ...(states.length > 0 && { states }) };
  const shown = useAnswer(TIMELINE, { first: page.size, page: page.page, filter });
  const look = useThrottled(shown.refresh, PACE);
  useFollowing(TASKS_CHANGED, { id: jobId }, ({ taskChanged: { task } }) => task && look(), shown.refresh);
  const { query } = usePlace();
  const order = (query.get("order") ?? "number") as Order;
  const present = useNow();
  const now = finished ? Date.parse(finished) : present;
  const tasks = shown.data?.tasks.nodes;
  const rows = useMemo(() => ordered((tasks ?? []).map((task) => rowOf(task, now)), order), [tasks, now, order]);
  const zero = Date.parse(created);
  const full = useMemo(() => whole(rows, zero, now), [rows, zero, now]);
  const [from, to] = [Number(query.get("from")), Number(query.get("to"))];
  const view = from > 0 && to > from ? { from, to } : full;
  const [pointed, point] = useState<string>();
  const zoom = (factor: number) => {
    const [middle, half] = [(view.from + view.to) / 2, ((view.to - view.from) / 2) * factor];
    turnTo(half * 2 >= full.to - full.from ? undefined : { from: middle - half, to: middle + half });
  };
  const attempts = rows.reduce((sum, { bars }) => sum + bars.length, 0);
  return (
    <div className="panel timeline" data-part="timeline">
      <header>
        <Chips name="state" label="State" known={TASK_STATES} />
        <span className="grow" />
        <label>
          Order
          <select value={order in ORDERS ? order : "number"} onChange={(event) => turn({ order: event.target.value === "number" ? null : event.target.value })}>
            {Object.entries(ORDERS).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <div className="chips" role="group" aria-label="Zoom">
          <button type="button" onClick={() => zoom(2)} disabled={view === full} aria-label="Show more time">
            −
          </button>
          <button type="button" onClick={() => zoom(0.5)} aria-label="Show less time">
            +
          </button>
          <button type="button" onClick={() => turnTo(undefined)} disabled={view === full}>
            Whole run
          </button>
        </div>
      </header>
      <Trouble problem={shown.problem} />
      <Lanes key={`${page.page} ${order} ${states.join(" ")}`} rows={rows} view={view} zero={zero} turnTo={turnTo} point={point} />
      {shown.data && rows.length === 0 && <p className="empty">No task fits.</p>}
      <p className="told soft" aria-hidden={pointed === undefined}>
        {pointed ?? `${attempts.toLocaleString()} attempts. Point at one to see what it was; arrow keys go from one to the next, Enter opens it, + and − zoom.`}
      </p>
      <Pager {...page} total={shown.data?.tasks.totalCount ?? 0} what="tasks" />
    </div>
  );
}
