import { memo, useCallback, useEffect, useRef, useState } from "react";
import { Badge } from "../design/Badge";
import { Count } from "../design/Count";
import { type Order, Sorted } from "../design/Sorted";
import { NumberHead, Table } from "../design/Table";
import { Time } from "../design/Time";
import type { JobSort } from "../gen/graphql";
import { Link } from "../route/Link";
import type { JobRow } from "./query";

interface Props {
  /** `undefined` while they are not known. */
  rows: JobRow[] | undefined;
  /** Which page of what they are; `undefined` while they are those of another. */
  view: string | undefined;
  loading: boolean;
  order: Order<JobSort>;
  chosen: ReadonlySet<string>;
  choose: (next: ReadonlySet<string>) => void;
  mayAct: boolean;
}

/** Rows that are surely more than fit onto a screen. */
const FIRST = 60;

/** Whether the first rows of a view have been seen, so that it is time for the rest. */
function useDrawn(view: string | undefined): boolean {
  const [drawn, setDrawn] = useState<string>();
  useEffect(() => {
    if (view === undefined || view === drawn) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const frame = requestAnimationFrame(() => {
      timer = setTimeout(() => setDrawn(view));
    });
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }, [view, drawn]);
  return view === undefined || view === drawn;
}

interface RowProps {
  job: JobRow;
  chosen: boolean;
  mayAct: boolean;
  toggle: (id: string) => void;
}

/** Drawn anew only when something of it has changed: there may be 500. */
const Row = memo(function Row({ job, chosen, mayAct, toggle }: RowProps) {
  return (
    <tr aria-selected={mayAct ? chosen : undefined}>
      {mayAct && (
        <td>
          <input type="checkbox" aria-label={`Choose ${job.jobId}`} checked={chosen} onChange={() => toggle(job.jobId)} />
        </td>
      )}
      <td>
        <Link className="mono id" href={`/jobs/${job.jobId}`} title={job.jobId}>
          {job.jobId}
        </Link>
      </td>
      <td>
        <span className="clip" title={job.externalId ?? undefined}>
          {job.externalId ?? <span className="soft">–</span>}
        </span>
      </td>
      <td>
        <Badge state={job.status} />
      </td>
      <Count value={job.taskCounters.ready} />
      <Count value={job.taskCounters.scheduled} />
      <Count value={job.taskCounters.running} />
      <Count value={job.taskCounters.completed} />
      <Count value={job.taskCounters.failed} />
      <td>
        <Time at={job.createdAt} />
      </td>
      <td>
        <Time at={job.finishedAt} />
      </td>
    </tr>
  );
});

export function JobTable({ rows, view, loading, order, chosen, choose, mayAct }: Props) {
  const all = rows !== undefined && rows.length > 0 && rows.every(({ jobId }) => chosen.has(jobId));
  const latest = useRef({ chosen, choose });
  latest.current = { chosen, choose };
  const toggle = useCallback((id: string) => {
    const next = new Set(latest.current.chosen);
    if (!next.delete(id)) next.add(id);
    latest.current.choose(next);
  }, []);
  const chooseAll = (
    <th key="choice" scope="col">
      <input
        type="checkbox"
        aria-label="Choose all jobs of this page"
        checked={all}
        disabled={!rows?.length}
        onChange={() => choose(new Set(all ? [] : rows?.map(({ jobId }) => jobId)))}
      />
    </th>
  );
  const sorted = (by: JobSort, name: string) => (
    <Sorted key={by} by={by} order={order}>
      {name}
    </Sorted>
  );
  const columns = [
    ...(mayAct ? [chooseAll] : []),
    "Job",
    sorted("EXTERNAL_ID", "External id"),
    "Status",
    ...["Ready", "Scheduled", "Running", "Completed", "Failed"].map((it) => <NumberHead key={it}>{it}</NumberHead>),
    sorted("CREATED_AT", "Created"),
    sorted("FINISHED_AT", "Finished"),
  ];
  const isDrawn = useDrawn(view);
  const drawn = isDrawn ? rows : rows?.slice(0, FIRST);
  const shown = drawn?.map((job) => <Row key={job.jobId} job={job} chosen={chosen.has(job.jobId)} mayAct={mayAct} toggle={toggle} />);
  return <Table label="Jobs" columns={columns} rows={shown} empty="No job fits." loading={loading} />;
}
