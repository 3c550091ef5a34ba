// Before many jobs are killed, stopped or tried again: how many, and what happens to their tasks.
import { useEffect, useState } from "react";
import { Problem } from "../data/problem";
import { Confirm } from "../design/Confirm";
import { Trouble } from "../design/Notice";
import { tell } from "../design/Toasts";
import { type Action, carryOut, type Outcome, type Wanted } from "./bulk";

const jobs = (count: number) => (count === 1 ? "1 job" : `${count.toLocaleString()} jobs`);
const tasks = (count: number) => (count === 1 ? "1 task" : `${count.toLocaleString()} tasks`);

/** Tasks that have failed for good, and would be tried again. */
const failedOf = ({ taskCounters, retriesPending }: NonNullable<Outcome["job"]>) => Math.max(0, taskCounters.failed - retriesPending);

/** Those to which something would happen. */
function acted(action: Action, outcomes: Outcome[]): NonNullable<Outcome["job"]>[] {
  const going = outcomes.flatMap(({ job, error }) => (job && !error ? [job] : []));
  return going.filter((job) => (action === "retry" ? failedOf(job) > 0 : job.status === "RUNNING"));
}

/** In words, from what the server says that it would do. */
export function consequence(action: Action, outcomes: Outcome[]): string[] {
  const going = acted(action, outcomes);
  const counted = (count: (it: NonNullable<Outcome["job"]>) => number) => going.reduce((all, job) => all + count(job), 0);
  const refused = outcomes.filter(({ job, error }) => error || !job).length;
  const rest = outcomes.length - refused - going.length;
  const unfinished = counted(({ taskCounters: it, retriesPending }) => it.ready + it.scheduled + it.running + retriesPending);
  const said: string[] = [];
  if (going.length === 0) {
    // Nothing but what follows.
  } else if (action === "kill") {
    said.push(`${jobs(going.length)} will be killed: ${tasks(unfinished)} that have not finished end at once, as KILLED.`);
  } else if (action === "stop") {
    said.push(`${jobs(going.length)} will be stopped: running tasks come to a good end, ${tasks(unfinished)} at most; those that have not begun fail as KILLED.`);
  } else {
    said.push(`${tasks(counted(failedOf))} of ${jobs(going.length)} that have failed for good will be tried again, with new budgets.`);
  }
  if (rest > 0 && action !== "retry") said.push(`${jobs(rest)} finished already: nothing changes there.`);
  if (rest > 0 && action === "retry") said.push(`${jobs(rest)} with no task that has failed for good: nothing changes there.`);
  if (refused > 0) said.push(`${jobs(refused)} cannot be acted on and will be left as they are.`);
  return said;
}

interface Props {
  action: Action;
  wanted: Wanted;
  close(): void;
  done(): void;
}

const TITLES = { kill: "Kill", stop: "Stop", retry: "Retry" };

export function BulkDialog({ action, wanted, close, done }: Props) {
  const [would, setWould] = useState<Outcome[]>();
  const [problem, setProblem] = useState<Problem>();
  useEffect(() => {
    let shown = true;
    carryOut(action, wanted, true).then(
      (outcomes) => shown && setWould(outcomes),
      (error: unknown) => shown && setProblem(Problem.from(error)),
    );
    return () => {
      shown = false;
    };
  }, [action, wanted]);
  const run = async () => {
    const outcomes = await carryOut(action, wanted, false);
    const refused = outcomes.filter(({ error }) => error);
    const good = outcomes.length - refused.length;
    if (good > 0) tell("good", `${TITLES[action]}: done for ${jobs(good)}.`);
    const [first] = refused;
    if (first) tell("bad", `${TITLES[action]}: refused for ${jobs(refused.length)}: ${first.error?.message ?? ""}`);
    done();
  };
  const going = would && acted(action, would).length;
  return (
    <Confirm
      title={`${TITLES[action]} ${going ? jobs(going) : "jobs"}?`}
      action={going ? `${TITLES[action]} ${jobs(going)}` : TITLES[action]}
      danger={action !== "retry"}
      ready={Boolean(going)}
      run={run}
      close={close}
    >
      <Trouble problem={problem} />
      <div aria-live="polite">
        {would ? consequence(action, would).map((it) => <p key={it}>{it}</p>) : !problem && <p>Counting…</p>}
      </div>
    </Confirm>
  );
}
