// The tasks of a job as they were at a time, beside what they are now.
import { useMemo, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { Badge } from "../design/Badge";
import { Trouble } from "../design/Notice";
import { NumberHead, Table } from "../design/Table";
import { Time } from "../design/Time";
import { Why } from "../design/Why";
import type { TaskRow } from "../job/query";
import { Link } from "../route/Link";
import { tasksAsOf } from "./query";

/** Each is folded from the log by itself. */
const ROWS = 20;

const COLUMNS = [
  "Task",
  "State then",
  "Now",
  <NumberHead key="attempt">Attempt</NumberHead>,
  <NumberHead key="retries">Retries</NumberHead>,
  "Worker",
  "Started",
  "Failure",
];

function Row({ task, now }: { task: TaskRow; now: string | undefined }) {
  return (
    <tr data-past={task.externalId}>
      <td>
        <Link href={`/tasks/${task.taskId}`}>{task.externalId}</Link>
      </td>
      <td>
        <Badge state={task.state} />
      </td>
      <td className="soft">{now === undefined ? "–" : now === task.state ? "the same" : now}</td>
      <td className="number">{task.attempt}</td>
      <td className="number">
        {task.retryCount} / {task.maxRetries}
      </td>
      <td className="mono">{task.workerId ?? <span className="soft">–</span>}</td>
      <td>
        <Time at={task.startedAt} />
      </td>
      <td>
        <Why failure={task.failure} />
      </td>
    </tr>
  );
}

interface Props {
  jobId: string;
  at: string;
  total: number;
  /** The present states by the ids of tasks, as far as they are known. */
  present: ReadonlyMap<string, string>;
}

export function PastTasks({ jobId, at, total, present }: Props) {
  const [page, setPage] = useState(0);
  const { numbers, document, variables } = useMemo(() => {
    const count = Math.min(ROWS, total - page * ROWS);
    const numbers = Array.from({ length: count }, (_, index) => page * ROWS + index + 1);
    return { numbers, ...tasksAsOf(jobId, numbers, at) };
  }, [jobId, at, page, total]);
  const shown = useAnswer(document, variables);
  const rows = numbers
    .flatMap((number) => shown.data?.[`t${number}`]?.task ?? [])
    .map((task) => <Row key={task.taskId} task={task} now={present.get(task.taskId)} />);
  const pages = Math.ceil(total / ROWS);
  return (
    <>
      <Trouble problem={shown.problem} />
      <Table label="Tasks as they were" columns={COLUMNS} loading={shown.loading} rows={shown.data && rows} empty="It had no tasks." />
      {pages > 1 && (
        <nav className="pager" aria-label="Pages of tasks as they were">
          <span className="grow">
            {page * ROWS + 1}–{Math.min(total, (page + 1) * ROWS)} of {total.toLocaleString()} tasks
          </span>
          <button type="button" disabled={page === 0} onClick={() => setPage(page - 1)} aria-label="Previous tasks">
            ‹
          </button>
          <button type="button" disabled={page + 1 >= pages} onClick={() => setPage(page + 1)} aria-label="Next tasks">
            ›
          </button>
        </nav>
      )}
    </>
  );
}
