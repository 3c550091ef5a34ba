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
  loading: boolean;
  order: Order<JobSort>;
  chosen: ReadonlySet<string>;
  choose: (next: ReadonlySet<string>) => void;
  mayAct: boolean;
}

export function JobTable({ rows, loading, order, chosen, choose, mayAct }: Props) {
  const all = rows !== undefined && rows.length > 0 && rows.every(({ jobId }) => chosen.has(jobId));
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    choose(next);
  };
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
  const row = (job: JobRow) => (
    <tr key={job.jobId} aria-selected={mayAct ? chosen.has(job.jobId) : undefined}>
      {mayAct && (
        <td>
          <input type="checkbox" aria-label={`Choose ${job.jobId}`} checked={chosen.has(job.jobId)} onChange={() => toggle(job.jobId)} />
        </td>
      )}
      <td>
        <Link className="mono" href={`/jobs/${job.jobId}`}>
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
  return <Table label="Jobs" columns={columns} rows={rows?.map(row)} empty="No job fits." loading={loading} />;
}
