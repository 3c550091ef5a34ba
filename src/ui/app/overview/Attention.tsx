// What needs somebody first, the worst at the top, each with the way there.
import { type ReactNode, useEffect, useRef, useState } from "react";
import type { OverviewQuery } from "../gen/graphql";
import { Link } from "../route/Link";
import { isUnresponsive } from "../workers/query";

/** Milliseconds since a job failed, for which it is news. */
const RECENT = 3_600_000;
/** Milliseconds over which a queue is watched, and how many tasks more make it a growing one. */
const WATCHED = 60_000;
const GROWN = 10;
/** As many failed jobs as are asked for. */
const MOST_FAILED = 20;

interface Seen {
  at: number;
  ready: number;
}

/** By how many tasks the queue has grown since it is watched here, a minute at most. */
function useGrowth(at: string, ready: number): number {
  const seen = useRef<Seen[]>([]);
  const [growth, setGrowth] = useState(0);
  useEffect(() => {
    const now = Date.parse(at);
    seen.current = [...seen.current.filter((it) => now - it.at <= WATCHED), { at: now, ready }];
    setGrowth(ready - Math.min(...seen.current.map((it) => it.ready)));
  }, [at, ready]);
  return growth;
}

interface Item {
  hue: "red" | "orange";
  what: ReactNode;
  more?: string;
}

const counted = (count: number, one: string, many: string) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

function items({ clusterOverview, silent, failing, quarantine }: OverviewQuery, growth: number): Item[] {
  const { tasks, workers } = clusterOverview;
  const waiting = tasks.ready + tasks.scheduled;
  const unheard = silent.nodes.filter(isUnresponsive).map((it) => it.workerId);
  const since = Date.parse(clusterOverview.at) - RECENT;
  const failed = failing.nodes.filter((it) => it.finishedAt && Date.parse(it.finishedAt) >= since).length;
  const most = failed === MOST_FAILED ? " or more" : "";
  const all: (Item | false)[] = [
    workers.active === 0 &&
      waiting > 0 && {
        hue: "red",
        what: <Link href="/workers">No worker is active</Link>,
        more: `${counted(waiting, "task waits", "tasks wait")} for one`,
      },
    unheard.length > 0 && {
      hue: "red",
      what: <Link href="/workers?state=INACTIVE">{counted(unheard.length, "worker does", "workers do")} not respond</Link>,
      more: unheard.slice(0, 5).join(", ") + (unheard.length > 5 ? ", …" : ""),
    },
    failed > 0 && {
      hue: "red",
      what: (
        <Link href="/jobs?status=FAILED&status=TIMEOUT&status=MIXED&sort=-FINISHED_AT">
          {failed === 1 ? "1 job" : `${failed}${most} jobs`} failed
        </Link>
      ),
      more: "in the last hour",
    },
    growth >= GROWN && {
      hue: "orange",
      what: <Link href="/jobs?status=RUNNING">The queue grows</Link>,
      more: `by ${counted(growth, "task", "tasks")} in the last minute, to ${tasks.ready.toLocaleString()}`,
    },
    workers.maxCapacity > 0 &&
      workers.currentTasks >= workers.maxCapacity &&
      tasks.ready > 0 && {
        hue: "orange",
        what: <Link href="/workers">All slots are taken</Link>,
        more: `${counted(tasks.ready, "task waits", "tasks wait")} for one`,
      },
    tasks.retriesPending > 0 && {
      hue: "orange",
      what: <Link href="/jobs?status=RUNNING">{counted(tasks.retriesPending, "task has", "tasks have")} failed and will be tried again</Link>,
    },
    quarantine.totalCount > 0 && {
      hue: "orange",
      what: `${counted(quarantine.totalCount, "message", "messages")} could not be taken and were set aside`,
      more: "grid events --quarantine lists them",
    },
  ];
  return all.filter((it) => it !== false);
}

export function Attention({ data }: { data: OverviewQuery }) {
  const growth = useGrowth(data.clusterOverview.at, data.clusterOverview.tasks.ready);
  const found = items(data, growth);
  return (
    <section className="panel" aria-label="Needs attention">
      <header>
        <h2>Needs attention</h2>
      </header>
      {found.length === 0 ? (
        <p className="empty">
          <span className="badge green">
            <span aria-hidden="true">✓</span> Nothing
          </span>
        </p>
      ) : (
        <ul className="attention">
          {found.map(({ hue, what, more }, index) => (
            // There is one of each kind, in a fixed order.
            // oxlint-disable-next-line react/no-array-index-key
            <li key={index}>
              <span className={`badge ${hue}`}>{hue === "red" ? "✕ Act" : "! Watch"}</span>
              <strong>{what}</strong>
              <span className="soft">{more}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
