import { useEffect, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { Trouble } from "../design/Notice";
import { usePlace, withQuery } from "../route/route";
import { History } from "./History";
import { JOB_EVENTS } from "./query";

/** `version` changes when the job does. */
export function JobHistory({ jobId, version }: { jobId: string; version: string }) {
  const [first, setFirst] = useState(50);
  const shown = useAnswer(JOB_EVENTS, { id: jobId, first });
  const { refresh } = shown;
  useEffect(() => refresh(), [version, refresh]);
  const events = shown.data?.job?.events;
  const place = usePlace();
  const asOf = Date.parse(place.query.get("asOf") ?? "");
  // The newest is the first.
  const current = events?.nodes.find(({ at }) => Date.parse(at) <= asOf);
  return (
    <div className="panel">
      <Trouble problem={shown.problem} />
      <History events={events?.nodes} to={(at) => withQuery(place, { tab: "history", asOf: at })} current={current?.position} />
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
