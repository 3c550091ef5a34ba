// The times at which something happened to a job or to its tasks.
import type { MomentsQuery } from "../gen/graphql";

export type Kind = "job" | "given" | "begun" | "completed" | "failed" | "retry";

export interface Moment {
  /** As the server has it: an RFC 3339 time. */
  at: string;
  kind: Kind;
  text: string;
  /** What else happened in the same millisecond. */
  more: number;
}

/** The worst of what happened at once is what is told. */
const WEIGHT: Record<Kind, number> = { failed: 5, job: 4, completed: 3, begun: 2, retry: 1, given: 0 };

type Found = Omit<Moment, "more">;

function ofTask(task: MomentsQuery["tasks"]["nodes"][number]): Found[] {
  return task.attempts.flatMap(({ attempt, scheduledAt, startedAt, finishedAt, failure }) => {
    const name = attempt > 1 ? `${task.externalId} (attempt ${attempt})` : task.externalId;
    const found: Found[] = [];
    if (scheduledAt) found.push({ at: scheduledAt, kind: attempt > 1 ? "retry" : "given", text: `${name} is given to a worker` });
    if (startedAt) found.push({ at: startedAt, kind: "begun", text: `${name} begins` });
    const back = failure?.reason === "HANDED_BACK";
    if (finishedAt && failure && back) found.push({ at: finishedAt, kind: "given", text: `${name} is handed back by its worker` });
    if (finishedAt && failure && !back) found.push({ at: finishedAt, kind: "failed", text: `${name} fails: ${failure.reason}` });
    if (finishedAt && !failure) found.push({ at: finishedAt, kind: "completed", text: `${name} completes` });
    return found;
  });
}

const JOB_EVENTS: Record<string, string> = {
  JobSubmitted: "The job is submitted",
  JobFinished: "The job is finished",
  JobKilled: "The job is killed",
};

/** Oldest first; what happened in one millisecond is one moment. Of a large job times between are added, evenly. */
export function moments({ job, tasks }: MomentsQuery, until: number): Moment[] {
  const ofJob = (job?.events.nodes ?? [])
    // A job is not there before it has been submitted, nor a moment of what goes on within it.
    .filter(({ type }) => type !== "FanOutAdvanced")
    .map(({ at, type }): Found => ({ at, kind: "job", text: JOB_EVENTS[type] ?? type }));
  const found = [...ofJob, ...tasks.nodes.flatMap(ofTask)];
  const [first] = found.map(({ at }) => at).toSorted();
  if (first && tasks.totalCount > tasks.nodes.length) {
    const [begin, steps] = [Date.parse(first), 100];
    for (let step = 1; step <= steps; step += 1) {
      found.push({ at: new Date(begin + ((until - begin) * step) / steps).toISOString(), kind: "given", text: "Meanwhile" });
    }
  }
  const byTime = new Map<string, Found[]>();
  for (const it of found) byTime.set(it.at, [...(byTime.get(it.at) ?? []), it]);
  return [...byTime]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([at, all]) => {
      const [worst] = all.toSorted((a, b) => WEIGHT[b.kind] - WEIGHT[a.kind]);
      return { at, kind: worst?.kind ?? "job", text: worst?.text ?? "", more: all.length - 1 };
    });
}

/** The place of the last moment that was not after it; -1: none was. */
export const placeOf = (all: readonly Moment[], at: string): number => all.findLastIndex((it) => Date.parse(it.at) <= Date.parse(at));
