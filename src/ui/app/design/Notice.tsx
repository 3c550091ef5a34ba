import type { ReactNode } from "react";
import type { Problem } from "../data/problem";

export function Notice({ kind, children }: { kind: "bad" | "warn" | "good" | "plain"; children: ReactNode }) {
  return (
    <div className={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      <div className="grow">{children}</div>
    </div>
  );
}

/** Why a view has nothing new; that the server does not answer is told for all views at once. */
export function Trouble({ problem }: { problem: Problem | undefined }) {
  if (!problem || problem.needsToken || problem.code === "UNREACHABLE") return null;
  return <Notice kind="bad">{problem.message}</Notice>;
}

/** A view of something that is not there, or not yet. */
export function Absent({ what, id, problem }: { what: string; id: string; problem: Problem | undefined }) {
  return (
    <div className="stack">
      <h1>{what}</h1>
      {problem?.code === "NOT_FOUND" ? <Notice kind="warn">There is no {id}.</Notice> : <Trouble problem={problem} />}
    </div>
  );
}
