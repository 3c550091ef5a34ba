// One task: its attempts, why it failed, what it wrote, what has happened to it.
import { useAnswer } from "../data/useAnswer";
import { useFollowing, useThrottled } from "../data/useFollowing";
import { Badge } from "../design/Badge";
import { Absent, Trouble } from "../design/Notice";
import { Tabs } from "../design/Tabs";
import { Ago, Time } from "../design/Time";
import { Explain } from "../job/Explain";
import { History } from "../job/History";
import { LogViewer } from "../logs/LogViewer";
import { OF_TASK } from "../metrics/figures";
import { MetricsPanel } from "../metrics/MetricsPanel";
import { Link } from "../route/Link";
import { usePlace } from "../route/route";
import { Attempts } from "./Attempts";
import { FailurePanel } from "./FailurePanel";
import { TASK, TASK_CHANGED, TASK_EVENTS } from "./query";

const PACE = 500;

function TaskHistory({ id }: { id: string }) {
  const shown = useAnswer(TASK_EVENTS, { id });
  useFollowing(TASK_CHANGED, { id }, shown.refresh, shown.refresh);
  return (
    <div className="panel">
      <Trouble problem={shown.problem} />
      <History events={shown.data?.task?.events.nodes} />
    </div>
  );
}

export function TaskPage({ id }: { id: string }) {
  const shown = useAnswer(TASK, { id });
  const look = useThrottled(shown.refresh, PACE);
  useFollowing(TASK_CHANGED, { id }, look, shown.refresh);
  const tab = usePlace().query.get("tab") ?? "attempts";
  const task = shown.data?.task;
  if (!task) {
    return <Absent what="Task" id={id} problem={shown.problem} />;
  }
  return (
    <div className="stack">
      <div className="row">
        <h1>{task.externalId}</h1>
        <Badge state={task.state} />
      </div>
      <dl className="facts">
        <div>
          <dt>Task</dt>
          <dd className="mono">{task.taskId}</dd>
        </div>
        <div>
          <dt>Job</dt>
          <dd>
            <Link href={`/jobs/${task.jobId}`}>{task.job?.externalId ?? task.jobId}</Link>
          </dd>
        </div>
        <div>
          <dt>Worker</dt>
          <dd className="mono">{task.workerId ? <Link href={`/workers/${task.workerId}`}>{task.workerId}</Link> : "–"}</dd>
        </div>
        <div>
          <dt>Retries</dt>
          <dd>
            {task.retryCount} of {task.maxRetries}
            {task.nextRetryAt && (
              <>
                {", next "}
                <Ago at={task.nextRetryAt} />
              </>
            )}
          </dd>
        </div>
        <div>
          <dt>Started</dt>
          <dd>
            <Time at={task.startedAt} />
          </dd>
        </div>
        <div>
          <dt>Finished</dt>
          <dd>
            <Time at={task.finishedAt} />
          </dd>
        </div>
      </dl>
      <Explain explain={task.explain} />
      {task.failure && <FailurePanel failure={task.failure} />}
      <Tabs chosen={tab} tabs={{ attempts: `Attempts (${task.attempts.length})`, metrics: "Metrics", logs: "Logs", history: "History" }} />
      {tab === "attempts" && (
        <div className="panel">
          <Attempts attempts={task.attempts} />
        </div>
      )}
      {tab === "metrics" && (
        <MetricsPanel tag="task_id" id={task.taskId} figures={OF_TASK} life={{ begin: task.createdAt, end: task.finishedAt }} />
      )}
      {tab === "logs" && <LogViewer of={{ taskIds: [task.taskId] }} />}
      {tab === "history" && <TaskHistory id={task.taskId} />}
    </div>
  );
}
