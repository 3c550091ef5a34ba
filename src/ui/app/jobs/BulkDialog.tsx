// Before many jobs are killed, stopped or tried again: how many, and what happens to their tasks.
import { useEffect, useState } from "react";
import { Problem } from "../data/problem";
import { Confirm } from "../design/Confirm";
import { Trouble } from "../design/Notice";
import { tell } from "../design/Toasts";
import { type Action, carryOut, type Outcome, type Wanted } from "./bulk";

const jobs = (count: number) => (count === 1 ? "1 job" : `${count.toLocaleString()} jobs`);
const tasks = (count: number) => (count === 1 ? "1 task" : `${count.toLocaleString()} tasks`);

/** In words, from what the server says that it would do. */
export function consequence(action: Action, outcomes: Outcome[]): string[] {
  const going = outcomes.filter(({ job, error }) => !error && job);
  const counted = (count: (it: NonNullable<Outcome["job"]>) => number) =>
    going.reduce((all, { job }) => all + (job ? count(job) : 0), 0);
  const running = going.filter(({ job }) => job?.status === "RUNNING").length;
  const refused = outcomes.length - going.length;
  const unfinished = counted((it) => it.taskCounters.ready + it.taskCounters.scheduled + it.taskCounters.running);
  const waiting = counted((it) => it.retriesPending);
  const said: string[] = [];
  if (action === "kill") {
    said.push(`${jobs(running)} will be killed: ${tasks(unfinished + waiting)} that have not finished end at once, as KILLED.`);
  } else if (action === "stop") {
    said.push(`${jobs(running)} will be stopped: running tasks come to a good end, ${tasks(unfinished + waiting)} at most; those that have not begun fail as KILLED.`);
  } else {
    const failed = counted((it) => Math.max(0, it.taskCounters.failed - it.retriesPending));
    said.push(`${tasks(failed)} of ${jobs(going.length)} that have failed for good will be tried again, with new budgets.`);
  }
  if (action !== "retry" && going.length > running) said.push(`${jobs(going.length - running)} finished already: nothing changes there.`);
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
  return (
    <Confirm
      title={`${TITLES[action]} ${would ? jobs(would.length) : "jobs"}?`}
      action={would ? `${TITLES[action]} ${jobs(would.length)}` : TITLES[action]}
      danger={action !== "retry"}
      ready={would !== undefined && would.length > 0}
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
