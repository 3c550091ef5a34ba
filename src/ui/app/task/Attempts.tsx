// The attempts of a task, and how long each waited and ran.
import { Badge } from "../design/Badge";
import { NumberHead, Table } from "../design/Table";
import { span, Time } from "../design/Time";
import { Why } from "../design/Why";
import { Link } from "../route/Link";
import { usePlace } from "../route/route";
import type { Attempt } from "./query";

const between = (from: string | null | undefined, to: string | null | undefined) =>
  from && to ? span(Date.parse(to) - Date.parse(from)) : "–";

function outcome(it: Attempt): string {
  if (it.failure) return "FAILED";
  if (it.finishedAt) return "COMPLETED";
  return it.startedAt ? "RUNNING" : "SCHEDULED";
}

/** `marked`: the attempt that the address names. */
const row = (it: Attempt, marked: string | null) => (
  <tr key={it.attempt} aria-current={marked === String(it.attempt) ? "true" : undefined}>
    <td className="number">{it.attempt}</td>
    <td>
      <Badge state={outcome(it)} />
    </td>
    <td className="mono">{it.workerId ? <Link href={`/workers/${it.workerId}`}>{it.workerId}</Link> : "–"}</td>
    <td>
      <Time at={it.scheduledAt} />
    </td>
    <td>{between(it.scheduledAt, it.startedAt)}</td>
    <td>
      <Time at={it.startedAt} />
    </td>
    <td>{between(it.startedAt, it.finishedAt)}</td>
    <td>
      <Why failure={it.failure} />
    </td>
  </tr>
);

const COLUMNS = [<NumberHead key="number">Attempt</NumberHead>, "Outcome", "Worker", "Scheduled", "Waited", "Started", "Ran", "Failure"];

export function Attempts({ attempts }: { attempts: Attempt[] }) {
  const marked = usePlace().query.get("attempt");
  const rows = attempts.toReversed().map((it) => row(it, marked));
  return <Table label="Attempts" columns={COLUMNS} rows={rows} empty="It has not been tried yet." />;
}
