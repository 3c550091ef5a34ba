// What can be done to a job.
import { useMemo, useState } from "react";
import { useMayAct } from "../data/you";
import { BulkDialog } from "../jobs/BulkDialog";
import type { Action } from "../jobs/bulk";
import type { JobRow } from "../jobs/query";

export function Actions({ job, done }: { job: JobRow; done: () => void }) {
  const [action, setAction] = useState<Action>();
  const wanted = useMemo(() => ({ ids: [job.jobId] }), [job.jobId]);
  if (!useMayAct()) return null;
  const running = job.status === "RUNNING";
  const failed = job.taskCounters.failed - job.retriesPending > 0;
  return (
    <div className="row">
      <button type="button" disabled={!failed} onClick={() => setAction("retry")}>
        Retry
      </button>
      <button type="button" disabled={!running} onClick={() => setAction("stop")}>
        Stop
      </button>
      <button type="button" className="danger" disabled={!running} onClick={() => setAction("kill")}>
        Kill
      </button>
      {action && <BulkDialog action={action} wanted={wanted} close={() => setAction(undefined)} done={done} />}
    </div>
  );
}
