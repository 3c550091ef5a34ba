// The workers: what each has, and whether it is heard. Asked every five seconds: heartbeats are no events.
import { useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { useMayAct } from "../data/you";
import { Badge } from "../design/Badge";
import { Bar } from "../design/Bar";
import { Chips, useChosen } from "../design/Chips";
import { Notice, Trouble } from "../design/Notice";
import { Pager, usePage } from "../design/Pager";
import { type Order, Sorted, useOrder } from "../design/Sorted";
import { Table } from "../design/Table";
import { Ago, Time } from "../design/Time";
import type { WorkerSort } from "../gen/graphql";
import { Link } from "../route/Link";
import { ChangeDialog } from "./ChangeDialog";
import { type Change, isSilent, isUnresponsive, WORKER_STATES, WORKERS, type WorkerRow } from "./query";

const SORTS: readonly WorkerSort[] = ["CREATED_AT", "WORKER_ID"];

export function Capacity({ worker: { currentTasks, maxCapacity } }: { worker: WorkerRow }) {
  const full = maxCapacity > 0 && currentTasks >= maxCapacity;
  const label = `${currentTasks} of ${maxCapacity} slots are taken`;
  return (
    <div className="row capacity">
      <div className="grow">
        <Bar parts={[{ hue: full ? "orange" : "blue", value: currentTasks }]} whole={maxCapacity} label={label} />
      </div>
      <span className="nowrap">
        {currentTasks} / {maxCapacity}
      </span>
    </div>
  );
}

export function States({ worker }: { worker: WorkerRow }) {
  return (
    <span className="row">
      <Badge state={worker.state} />
      {isSilent(worker) && <Badge state="SILENT" />}
      {worker.leftCause && <Badge state={worker.leftCause} />}
      {worker.draining && <Badge state="DRAINING" />}
      {worker.cordoned && <Badge state="CORDONED" />}
    </span>
  );
}

/** When it was last heard; of one that has left, when that was. */
export function Heard({ worker: { leftAt, lastHeartbeatAt } }: { worker: Pick<WorkerRow, "leftAt" | "lastHeartbeatAt"> }) {
  if (!leftAt) return <Ago at={lastHeartbeatAt} />;
  return (
    <span className="soft">
      left <Ago at={leftAt} />
    </span>
  );
}

interface TableProps {
  rows: WorkerRow[] | undefined;
  loading: boolean;
  order: Order<WorkerSort>;
  change: ((change: Change, worker: WorkerRow) => void) | undefined;
}

function WorkerTable({ rows, loading, order, change }: TableProps) {
  const sorted = (by: WorkerSort, name: string) => (
    <Sorted key={by} by={by} order={order}>
      {name}
    </Sorted>
  );
  const columns = [
    sorted("WORKER_ID", "Worker"),
    "Endpoint",
    "State",
    "Tasks",
    "Last heartbeat",
    "Registered",
    sorted("CREATED_AT", "Created"),
    ...(change ? ["Actions"] : []),
  ];
  const row = (worker: WorkerRow) => (
    <tr key={worker.workerId}>
      <td>
        <Link className="mono" href={`/workers/${worker.workerId}`}>
          {worker.workerId}
        </Link>
      </td>
      <td>
        <span className="mono clip" title={worker.endpointUrl}>
          {worker.endpointUrl}
        </span>
      </td>
      <td>
        <States worker={worker} />
      </td>
      <td>
        <Capacity worker={worker} />
      </td>
      <td>
        <Heard worker={worker} />
      </td>
      <td>
        <Time at={worker.registeredAt} />
      </td>
      <td>
        <Time at={worker.createdAt} />
      </td>
      {change && (
        <td>
          <span className="row">
            <button type="button" onClick={() => change(worker.cordoned ? "uncordon" : "cordon", worker)}>
              {worker.cordoned ? "Uncordon" : "Cordon"}
            </button>
            <button type="button" className="danger" disabled={worker.draining || worker.state === "INACTIVE"} onClick={() => change("drain", worker)}>
              Drain
            </button>
          </span>
        </td>
      )}
    </tr>
  );
  return <Table label="Workers" columns={columns} rows={rows?.map(row)} empty="No worker fits." loading={loading} />;
}

export function WorkersPage() {
  const page = usePage(50);
  const order = useOrder(SORTS, { by: "CREATED_AT", direction: "DESC" });
  const states = useChosen("state", WORKER_STATES);
  const filter = states.length > 0 ? { states } : null;
  const shown = useAnswer(WORKERS, { first: page.size, page: page.page, filter, orderBy: order }, "always");
  const [dialog, setDialog] = useState<{ change: Change; worker: WorkerRow }>();
  const mayAct = useMayAct();
  // Of all, whichever are shown.
  const silent = shown.data?.silent.nodes.filter(isUnresponsive) ?? [];
  return (
    <div className="stack">
      <h1>Workers</h1>
      <Trouble problem={shown.problem} />
      {silent.length > 0 && (
        <Notice kind="bad">
          <strong>{silent.length === 1 ? "A worker does not respond: " : `${silent.length} workers do not respond: `}</strong>
          {silent.slice(0, 5).map(({ workerId }, index) => (
            <span key={workerId}>
              {index > 0 && ", "}
              <Link href={`/workers/${workerId}`}>{workerId}</Link>
            </span>
          ))}
          {silent.length > 5 && ", …"}. Its tasks go to others when it is given up.
        </Notice>
      )}
      <div className="panel">
        <header>
          <Chips name="state" label="State" known={WORKER_STATES} />
        </header>
        <WorkerTable
          rows={shown.data?.workers.nodes}
          loading={shown.loading}
          order={order}
          change={mayAct ? (change, worker) => setDialog({ change, worker }) : undefined}
        />
        <Pager {...page} total={shown.data?.workers.totalCount ?? 0} what="workers" />
      </div>
      {dialog && <ChangeDialog {...dialog} close={() => setDialog(undefined)} done={shown.refresh} />}
    </div>
  );
}
