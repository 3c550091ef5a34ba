import { graphql } from "../gen";
import type { WorkersQuery, WorkerState } from "../gen/graphql";

export const WORKER_STATES: readonly WorkerState[] = ["ACTIVE", "PENDING", "INACTIVE"];

export const WORKERS = graphql(`
  query Workers($first: Int!, $page: Int!, $filter: WorkerFilter, $orderBy: WorkerOrder) {
    workers(first: $first, page: $page, filter: $filter, orderBy: $orderBy) {
      totalCount
      nodes {
        workerId endpointUrl state draining cordoned currentTasks maxCapacity
        lastHeartbeatAt registeredAt createdAt labels cpuCores memoryBytes
      }
    }
  }
`);

const DRAIN = graphql(`mutation Drain($id: ID!) { outcome: drainWorker(id: $id) { position } }`);
const CORDON = graphql(`mutation Cordon($id: ID!) { outcome: cordonWorker(id: $id) { position } }`);
const UNCORDON = graphql(`mutation Uncordon($id: ID!) { outcome: uncordonWorker(id: $id) { position } }`);

export const CHANGES = { drain: DRAIN, cordon: CORDON, uncordon: UNCORDON };
export type Change = keyof typeof CHANGES;
export type WorkerRow = WorkersQuery["workers"]["nodes"][number];

/** It should be heard and is not: it has not said that it leaves. */
export const isUnresponsive = (it: Pick<WorkerRow, "state" | "draining">): boolean =>
  it.state === "INACTIVE" && !it.draining;
