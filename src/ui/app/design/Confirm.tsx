// Before something is done that cannot be undone: what will happen, and to how many.
import { type ReactNode, useState } from "react";
import { Problem } from "../data/problem";
import { Dialog } from "./Dialog";
import { Notice } from "./Notice";

interface Props {
  title: string;
  /** What the button says: what is done. */
  action: string;
  danger?: boolean;
  /** There is something to do. */
  ready?: boolean;
  run(): Promise<void>;
  close(): void;
  children: ReactNode;
}

export function Confirm({ title, action, danger = false, ready = true, run, close, children }: Props) {
  const [running, setRunning] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const confirm = async () => {
    setRunning(true);
    try {
      await run();
      close();
    } catch (error) {
      setProblem(Problem.from(error));
      setRunning(false);
    }
  };
  return (
    <Dialog title={title} close={close}>
      {children}
      {problem && <Notice kind="bad">{problem.message}</Notice>}
      <footer>
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button type="button" className={danger ? "primary danger" : "primary"} disabled={running || !ready} onClick={confirm}>
          {running ? "…" : action}
        </button>
      </footer>
    </Dialog>
  );
}
