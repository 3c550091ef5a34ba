// A job as it was: one drags through what happened, and sees its counters and tasks of that time. The time stands in the
// address.
import "./past.css";
import { useEffect, useMemo, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { useThrottled } from "../data/useFollowing";
import { Badge } from "../design/Badge";
import { Trouble } from "../design/Notice";
import { span, Time, useNow, utc } from "../design/Time";
import { type Counted, Counters } from "../jobs/Counters";
import { type JobRow, sum } from "../jobs/query";
import { turn, usePlace } from "../route/route";
import { type Kind, type Moment, moments, placeOf } from "./moments";
import { PastTasks, ROWS } from "./PastTasks";
import { JOB_AS_OF, MOMENTS } from "./query";

/** Milliseconds between two looks at what has happened meanwhile. */
const PACE = 2_000;
/** Milliseconds for which one rests at a time before it is asked for. */
const REST = 120;

const HUES: Record<Kind, string> = { job: "accent", given: "gray", begun: "blue", completed: "green", failed: "red", retry: "orange" };
const HEIGHTS: Record<Kind, number> = { job: 20, given: 5, begun: 8, completed: 12, failed: 18, retry: 6 };

/** What was chosen, once one rests there. */
function useRested(value: string | null): string | null {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), REST);
    return () => clearTimeout(timer);
  }, [value]);
  return value === null ? null : rested;
}

function Strip({ all, place }: { all: readonly Moment[]; place: number }) {
  const step = 100 / Math.max(1, all.length);
  const wide = Math.min(0.5, Math.max(0.12, step * 0.7));
  return (
    <svg className="strip" viewBox="0 0 100 22" preserveAspectRatio="none" aria-hidden="true">
      {all.map(({ at, kind }, index) => (
        <rect
          key={at}
          className={`ink-${HUES[kind]} ${index > place ? "later" : ""}`}
          x={(index + 0.5) * step - wide / 2}
          y={22 - HEIGHTS[kind]}
          width={wide}
          height={HEIGHTS[kind]}
        />
      ))}
    </svg>
  );
}

/** Its numbers of then, beside those of now. */
function Then({ then, now }: { then: JobRow; now: JobRow }) {
  const { completed, failed } = then.taskCounters;
  const label = `Then ${completed} of ${sum(then)} tasks had completed and ${failed} had failed`;
  const note = (it: Counted) => (then.taskCounters[it] === now.taskCounters[it] ? "as now" : `now ${now.taskCounters[it].toLocaleString()}`);
  return <Counters job={then} label={label} mark="data-past-counter" note={note} />;
}

export default function PastPanel({ job, version }: { job: JobRow; version: string }) {
  const asked = usePlace().query.get("asOf");
  const valid = asked !== null && !Number.isNaN(Date.parse(asked)) ? asked : null;
  const at = useRested(valid);
  const known = useAnswer(MOMENTS, { id: job.jobId, filter: { jobId: job.jobId } });
  const look = useThrottled(known.refresh, PACE);
  useEffect(() => look(), [version, look]);
  // Tasks keep their numbers, and so their places, at every time.
  const [before, turnTasks] = useState<readonly string[]>([]);
  const after = before.at(-1) ?? null;
  const then = useAnswer(JOB_AS_OF, at === null ? null : { id: job.jobId, at, first: ROWS, after });
  const present = useNow();
  // Times between moments need not move each second.
  const until = job.finishedAt ? Date.parse(job.finishedAt) : Math.floor(present / 30_000) * 30_000;
  const all = useMemo(() => (known.data ? moments(known.data, until) : []), [known.data, until]);
  const states = useMemo(() => new Map((known.data?.tasks.nodes ?? []).map(({ taskId, state }) => [taskId, state])), [known.data]);
  const last = all.length - 1;
  const place = valid === null ? last + 1 : placeOf(all, valid);
  const go = (next: number) => {
    const moment = all[Math.max(0, next)];
    turn({ tab: "history", asOf: next > last ? null : (moment?.at ?? null) });
  };
  const moment = all[place];
  const words = moment ? `${moment.text}${moment.more > 0 ? `, and ${moment.more} more at once` : ""}` : "Now";
  const since = moment ? span(Date.parse(moment.at) - Date.parse(job.createdAt)) : "";
  const shown = then.data?.jobAsOf;
  return (
    <section className="panel past" aria-label="As it was" data-part="past">
      <header>
        <h2>As it was</h2>
        {valid !== null && (
          <span title={utc(valid)}>
            <Time at={valid} /> <span className="soft">({since} after the submission)</span>
          </span>
        )}
        {shown && <Badge state={shown.job.status} />}
        {shown?.provisional && <span className="soft small">may still change</span>}
        <span className="grow" />
        <button type="button" disabled={place <= 0} onClick={() => go(place - 1)} aria-label="The moment before">
          ‹
        </button>
        <button type="button" disabled={valid === null} onClick={() => go(place + 1)} aria-label="The moment after">
          ›
        </button>
        <button type="button" disabled={valid === null} onClick={() => go(last + 1)}>
          Now
        </button>
      </header>
      <div className="body stack">
        <div>
          <Strip all={all} place={place} />
          <input
            type="range"
            min={0}
            max={last + 1}
            step={1}
            value={Math.max(0, place)}
            disabled={all.length === 0}
            onChange={(event) => go(Number(event.target.value))}
            aria-label="Moment"
            aria-valuetext={moment ? `${words}, ${new Date(moment.at).toLocaleTimeString()}` : "now"}
          />
          <p className="row">
            <strong>{words}</strong>
            <span className="grow" />
            <span className="soft small">
              {valid === null ? "Drag, or use arrow keys, to see the job as it was" : `Moment ${place + 1} of ${last + 1}`}
            </span>
          </p>
        </div>
        <Trouble problem={known.problem ?? then.problem} />
      </div>
      {valid !== null && shown && <Then then={shown.job} now={job} />}
      {valid !== null && at !== null && shown && (
        <PastTasks tasks={shown.job.tasks} loading={then.loading} present={states} before={before} turn={turnTasks} />
      )}
    </section>
  );
}
