// One worker: what it has, where it runs, what has happened to it.
import type { ReactNode } from "react";
import { useAnswer } from "../data/useAnswer";
import { Facts } from "../design/Facts";
import { Absent, Trouble } from "../design/Notice";
import { NumberHead, Table } from "../design/Table";
import { Time } from "../design/Time";
import { graphql } from "../gen";
import { History } from "../job/History";
import { OF_WORKER } from "../metrics/figures";
import { MetricsPanel } from "../metrics/MetricsPanel";
import { Link } from "../route/Link";
import { Badge } from "../design/Badge";
import { Capacity, Heard, States } from "./WorkersPage";

const WORKER = graphql(`
  query Worker($id: ID!) {
    worker(id: $id) {
      workerId endpointUrl state draining cordoned currentTasks maxCapacity
      lastHeartbeatAt registeredAt createdAt leftAt leftCause labels cpuCores memoryBytes
      events(first: 50) { nodes { position type at principal streamVersion data } }
    }
    tasks(first: 50, filter: { workerIds: [$id], states: [SCHEDULED, RUNNING] }) {
      nodes { taskId jobId externalId state attempt startedAt }
    }
  }
`);

export function WorkerPage({ id }: { id: string }) {
  const shown = useAnswer(WORKER, { id }, "always");
  const worker = shown.data?.worker;
  if (!worker) {
    return <Absent what="Worker" id={id} problem={shown.problem} />;
  }
  const facts: Record<string, ReactNode> = {
    Endpoint: <span className="mono">{worker.endpointUrl}</span>,
    Tasks: <Capacity worker={worker} />,
    "Last heartbeat": <Heard worker={worker} />,
    Registered: <Time at={worker.registeredAt} />,
    Created: <Time at={worker.createdAt} />,
    Labels: Object.entries((worker.labels ?? {}) as Record<string, string>).map(([name, value]) => `${name}=${value}`).join(", ") || "–",
    CPU: worker.cpuCores == null ? "–" : `${worker.cpuCores.toFixed(2)} cores`,
    Memory: worker.memoryBytes == null ? "–" : `${(worker.memoryBytes / 2 ** 20).toFixed(0)} MiB`,
  };
  return (
    <div className="stack">
      <div className="row">
        <h1 className="mono">{worker.workerId}</h1>
        <States worker={worker} />
      </div>
      <Trouble problem={shown.problem} />
      <Facts of={facts} />
      <div className="panel">
        <header>
          <h2>Tasks that it has</h2>
        </header>
        <Table
          label="Tasks that it has"
          columns={["Task", "State", <NumberHead key="attempt">Attempt</NumberHead>, "Started"]}
          empty="None at the moment."
          rows={shown.data?.tasks.nodes.map((task) => (
            <tr key={task.taskId}>
              <td>
                <Link href={`/tasks/${task.taskId}`}>{task.externalId}</Link>
              </td>
              <td>
                <Badge state={task.state} />
              </td>
              <td className="number">{task.attempt}</td>
              <td>
                <Time at={task.startedAt} />
              </td>
            </tr>
          ))}
        />
      </div>
      <MetricsPanel tag="worker_id" id={worker.workerId} figures={OF_WORKER} />
      <div className="panel">
        <header>
          <h2>History of its process</h2>
        </header>
        <History events={worker.events.nodes} />
      </div>
    </div>
  );
}
