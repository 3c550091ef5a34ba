// How far a job is: its tasks by state, what it gets done in a second, and when it may be over.
import { useEffect, useRef } from "react";
import { span, useNow } from "../design/Time";
import { Counters } from "../jobs/Counters";
import { type JobRow, sum } from "../jobs/query";

/** The rate is that of so many milliseconds before now. */
const WINDOW = 30_000;

interface Sample {
  at: number;
  done: number;
}

/** Tasks that end in a second, of what was seen; before that is enough, since the job was created. */
function useRate(done: number, createdAt: string, now: number): number {
  const samples = useRef<Sample[]>([]);
  useEffect(() => {
    const kept = samples.current.filter(({ at }) => now - at <= WINDOW);
    samples.current = [...kept, { at: now, done }];
  }, [done, now]);
  const [first] = samples.current;
  if (first && now - first.at > 3_000) return Math.max(0, (1_000 * (done - first.done)) / (now - first.at));
  const age = now - Date.parse(createdAt);
  return age > 0 ? (1_000 * done) / age : 0;
}

const rounded = (rate: number) => (rate >= 10 ? Math.round(rate).toLocaleString() : rate.toFixed(1));

export function Progress({ job }: { job: JobRow }) {
  const now = useNow();
  const { completed, failed } = job.taskCounters;
  const ended = completed + failed - job.retriesPending;
  const all = sum(job);
  const rate = useRate(ended, job.createdAt, now);
  const label = `${ended.toLocaleString()} of ${all.toLocaleString()} tasks have ended`;
  return (
    <div className="panel" data-part="progress">
      <Counters job={job} label={label}>
        <span className="soft">
          {label}
          {job.status === "RUNNING" ? (
            // Slower than that nothing can be said of its end.
            rate >= 0.05 && ` · ${rounded(rate)} a second · about ${span((1_000 * (all - ended)) / rate)} to go`
          ) : (
            job.finishedAt && ` · took ${span(Date.parse(job.finishedAt) - Date.parse(job.createdAt))}`
          )}
        </span>
      </Counters>
    </div>
  );
}
