import { useEffect, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { Trouble } from "../design/Notice";
import { History } from "./History";
import { JOB_EVENTS } from "./query";

/** `version` changes when the job does. */
export function JobHistory({ jobId, version }: { jobId: string; version: string }) {
  const [first, setFirst] = useState(50);
  const shown = useAnswer(JOB_EVENTS, { id: jobId, first });
  const { refresh } = shown;
  useEffect(() => refresh(), [version, refresh]);
  const events = shown.data?.job?.events;
  return (
    <div className="panel">
      <Trouble problem={shown.problem} />
      <History events={events?.nodes} />
      {events?.pageInfo.hasNextPage && first < 500 && (
        <div className="pager">
          <button type="button" onClick={() => setFirst(500)}>
            Show more
          </button>
        </div>
      )}
    </div>
  );
}
