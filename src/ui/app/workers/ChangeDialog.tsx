import { ask } from "../data/ask";
import { Confirm } from "../design/Confirm";
import { tell } from "../design/Toasts";
import { CHANGES, type Change, type WorkerRow } from "./query";

function consequence(change: Change, { currentTasks }: WorkerRow): string {
  const tasks = currentTasks === 1 ? "1 task" : `${currentTasks} tasks`;
  switch (change) {
    case "drain":
      return `It gets no new work, finishes the ${tasks} that it has, and its process ends.`;
    case "cordon":
      return `It gets no new work, nor do later processes of its name. The ${tasks} that it has go on.`;
    case "uncordon":
      return "It gets new work again.";
  }
}

const TITLES = { drain: "Drain", cordon: "Cordon", uncordon: "Uncordon" };

interface Props {
  change: Change;
  worker: WorkerRow;
  close(): void;
  done(): void;
}

export function ChangeDialog({ change, worker, close, done }: Props) {
  const run = async () => {
    await ask(CHANGES[change], { id: worker.workerId });
    tell("good", `${TITLES[change]}: ${worker.workerId}.`);
    done();
  };
  return (
    <Confirm title={`${TITLES[change]} 1 worker?`} action={TITLES[change]} danger={change === "drain"} run={run} close={close}>
      <p className="mono">{worker.workerId}</p>
      <p>{consequence(change, worker)}</p>
    </Confirm>
  );
}
