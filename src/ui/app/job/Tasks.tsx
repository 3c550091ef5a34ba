// The tasks of a job, by number; each row changes as its task does.
import { useAnswer } from "../data/useAnswer";
import { useFollowing, useGathered, useThrottled } from "../data/useFollowing";
import { Badge } from "../design/Badge";
import { Chips, useChosen } from "../design/Chips";
import { Trouble } from "../design/Notice";
import { Pager, usePage } from "../design/Pager";
import { NumberHead, Table } from "../design/Table";
import { Ago, span, Time } from "../design/Time";
import { Why } from "../design/Why";
import { Link } from "../route/Link";
import { JOB_TASKS, TASK_STATES, TASKS_CHANGED, type TaskRow } from "./query";

const PACE = 1_000;
/** Milliseconds in which changes are gathered before they are shown. */
const GATHER = 150;

export function Tasks({ jobId }: { jobId: string }) {
  const page = usePage(50);
  const states = useChosen("state", TASK_STATES);
  const filter = { jobId, ...(states.length > 0 && { states }) };
  const shown = useAnswer(JOB_TASKS, { first: page.size, page: page.page, filter });
  const look = useThrottled(shown.refresh, PACE);
  const take = useGathered<TaskRow>((come) => {
    const next = new Map(come.map((task) => [task.taskId, task]));
    const replace = (it: TaskRow) => ({ ...it, ...next.get(it.taskId) });
    shown.patch((data) => ({ tasks: { ...data.tasks, nodes: data.tasks.nodes.map(replace) } }));
    // The filter may let others through.
    if (states.length > 0) look();
  }, GATHER);
  useFollowing(TASKS_CHANGED, { id: jobId }, ({ taskChanged: { task } }) => task && take(task), shown.refresh);
  return (
    <div className="panel">
      <header>
        <Chips name="state" label="State" known={TASK_STATES} />
      </header>
      <Trouble problem={shown.problem} />
      <Table label="Tasks" columns={COLUMNS} rows={shown.data?.tasks.nodes.map(row)} empty="No task fits." loading={shown.loading} />
      <Pager {...page} total={shown.data?.tasks.totalCount ?? 0} what="tasks" />
    </div>
  );
}

const COLUMNS = ["Task", "State", <NumberHead key="attempt">Attempt</NumberHead>, "Retries", "Worker", "Started", "Took", "Failure"];

function row(task: TaskRow) {
  const took = task.startedAt && task.finishedAt ? Date.parse(task.finishedAt) - Date.parse(task.startedAt) : undefined;
  return (
    <tr key={task.taskId}>
      <td>
        <Link href={`/tasks/${task.taskId}`} title={task.taskId}>
          {task.externalId}
        </Link>
      </td>
      <td>
        <Badge state={task.state} />
      </td>
      <td className="number">{task.attempt}</td>
      <td>
        {task.retryCount} / {task.maxRetries}
        {task.nextRetryAt && (
          <span className="soft">
            {" "}
            next <Ago at={task.nextRetryAt} />
          </span>
        )}
      </td>
      <td className="mono">
        {task.workerId ? <Link href={`/workers/${task.workerId}`}>{task.workerId}</Link> : <span className="soft">–</span>}
      </td>
      <td>
        <Time at={task.startedAt} />
      </td>
      <td>{took === undefined ? <span className="soft">–</span> : span(took)}</td>
      <td>
        <Why failure={task.failure} />
      </td>
    </tr>
  );
}
