// The tasks of a job as they were at a time, beside what they are now.
import { Badge } from "../design/Badge";
import { NumberHead, Table } from "../design/Table";
import { Time } from "../design/Time";
import { Why } from "../design/Why";
import type { TaskRow } from "../job/query";
import { Link } from "../route/Link";
import type { PastTasks as Some } from "./query";

/** Of a page: each is folded from its events. */
export const ROWS = 50;

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
  tasks: Some;
  loading: boolean;
  /** The present states by the ids of tasks, as far as they are known. */
  present: ReadonlyMap<string, string>;
  /** The cursors of the pages before this one. */
  before: readonly string[];
  turn(before: readonly string[]): void;
}

export function PastTasks({ tasks, loading, present, before, turn }: Props) {
  const { nodes, pageInfo, totalCount } = tasks;
  const rows = nodes.map((task) => <Row key={task.taskId} task={task} now={present.get(task.taskId)} />);
  const begin = before.length * ROWS;
  return (
    <>
      <Table label="Tasks as they were" columns={COLUMNS} loading={loading} rows={rows} empty="It had no tasks." />
      {totalCount > ROWS && (
        <nav className="pager" aria-label="Pages of tasks as they were">
          <span className="grow">
            {(begin + 1).toLocaleString()}–{(begin + nodes.length).toLocaleString()} of {totalCount.toLocaleString()} tasks
          </span>
          <button type="button" disabled={before.length === 0} onClick={() => turn(before.slice(0, -1))} aria-label="Previous tasks">
            ‹
          </button>
          <button
            type="button"
            disabled={!pageInfo.hasNextPage || !pageInfo.endCursor}
            onClick={() => pageInfo.endCursor && turn([...before, pageInfo.endCursor])}
            aria-label="Next tasks"
          >
            ›
          </button>
        </nav>
      )}
    </>
  );
}
