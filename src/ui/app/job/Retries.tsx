// Retries that are to come: they can be had at once, or taken back.
import { useEffect, useState } from "react";
import { ask } from "../data/ask";
import { useAnswer } from "../data/useAnswer";
import { useMayAct } from "../data/you";
import { Confirm } from "../design/Confirm";
import { Trouble } from "../design/Notice";
import { Table } from "../design/Table";
import { tell } from "../design/Toasts";
import { Ago } from "../design/Time";
import { Why } from "../design/Why";
import { graphql } from "../gen";
import type { JobRetriesQuery } from "../gen/graphql";
import { Link } from "../route/Link";
import { JOB_RETRIES } from "./query";

const NOW = graphql(`mutation RetryNow($id: ID!) { outcome: bringForwardRetry(id: $id) { position } }`);
const CANCEL = graphql(`mutation RetryCancel($id: ID!) { outcome: cancelRetry(id: $id) { position } }`);

type Retry = JobRetriesQuery["retries"]["nodes"][number];

export function Retries({ jobId, version }: { jobId: string; version: string }) {
  const shown = useAnswer(JOB_RETRIES, { id: jobId });
  const { refresh } = shown;
  useEffect(() => refresh(), [version, refresh]);
  const [dialog, setDialog] = useState<{ id: string; name: string; now: boolean }>();
  const mayAct = useMayAct();
  const columns = ["Task", "Due", "Retry", "Failed by", ...(mayAct ? ["Actions"] : [])];
  const row = (task: Retry) => (
    <tr key={task.taskId}>
      <td>
        <Link href={`/tasks/${task.taskId}`}>{task.externalId}</Link>
      </td>
      <td>
        <Ago at={task.nextRetryAt} />
      </td>
      <td>
        {task.retryCount} of {task.maxRetries}
      </td>
      <td>
        <Why failure={task.failure} />
      </td>
      {mayAct && (
        <td>
          <span className="row">
            <button type="button" onClick={() => setDialog({ id: task.taskId, name: task.externalId, now: true })}>
              Now
            </button>
            <button type="button" className="danger" onClick={() => setDialog({ id: task.taskId, name: task.externalId, now: false })}>
              Cancel
            </button>
          </span>
        </td>
      )}
    </tr>
  );
  return (
    <div className="panel">
      <Trouble problem={shown.problem} />
      <Table label="Scheduled retries" columns={columns} rows={shown.data?.retries.nodes.map(row)} empty="No retry is scheduled." />
      {dialog && (
        <Confirm
          title={dialog.now ? "Retry 1 task now?" : "Cancel the retry of 1 task?"}
          action={dialog.now ? "Retry now" : "Cancel the retry"}
          danger={!dialog.now}
          close={() => setDialog(undefined)}
          run={async () => {
            await ask(dialog.now ? NOW : CANCEL, { id: dialog.id });
            tell("good", dialog.now ? `${dialog.name} is due now.` : `The retry of ${dialog.name} is cancelled.`);
            refresh();
          }}
        >
          <p>{dialog.now ? `${dialog.name} is tried again at once.` : `The failure of ${dialog.name} becomes final.`}</p>
        </Confirm>
      )}
    </div>
  );
}
