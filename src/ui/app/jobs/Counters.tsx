// How many tasks of a job are in which state, and how far that is: in words, numbers and a bar.
import type { ReactNode } from "react";
import { Bar } from "../design/Bar";
import { type JobRow, sum } from "./query";

const STATES = { ready: "gray", scheduled: "yellow", running: "blue", completed: "green", failed: "red" } as const;
export type Counted = keyof typeof STATES;

interface Props {
  job: JobRow;
  /** Says in words what the bar shows. */
  label: string;
  /** Of each number, the attribute by which it is found. */
  mark?: "data-counter" | "data-past-counter";
  /** What is said beside a number. */
  note?(state: Counted): ReactNode;
  children?: ReactNode;
}

export function Counters({ job, label, mark = "data-counter", note, children }: Props) {
  const { completed, failed, running, scheduled } = job.taskCounters;
  const parts = [
    { hue: "green", value: completed },
    { hue: "red", value: failed - job.retriesPending },
    { hue: "orange", value: job.retriesPending },
    { hue: "blue", value: running },
    { hue: "yellow", value: scheduled },
  ] as const;
  return (
    <div className="counters" role="group" aria-label="Tasks by state">
      <ul>
        {(Object.keys(STATES) as Counted[]).map((it) => (
          <li key={it} {...{ [mark]: it }}>
            <i className={`fill-${STATES[it]}`} />
            <span className="soft">{it.charAt(0).toUpperCase() + it.slice(1)}</span>
            <b className={job.taskCounters[it] === 0 ? "zero" : undefined}>{job.taskCounters[it].toLocaleString()}</b>
            {note && <span className="soft small">{note(it)}</span>}
          </li>
        ))}
        {children && <li className="rest">{children}</li>}
      </ul>
      <Bar parts={[...parts]} whole={sum(job)} label={label} />
    </div>
  );
}
