import { graphql } from "../gen";
import type { WorkersQuery, WorkerState } from "../gen/graphql";

export const WORKER_STATES: readonly WorkerState[] = ["ACTIVE", "PENDING", "INACTIVE"];

export const WORKERS = graphql(`
  query Workers($first: Int!, $page: Int!, $filter: WorkerFilter, $orderBy: WorkerOrder) {
    workers(first: $first, page: $page, filter: $filter, orderBy: $orderBy) {
      totalCount
      nodes {
        workerId endpointUrl state draining cordoned currentTasks maxCapacity
        lastHeartbeatAt registeredAt createdAt leftAt leftCause labels cpuCores memoryBytes
      }
    }
    silent: workers(first: 100, filter: { states: [INACTIVE] }) { nodes { workerId state leftAt leftCause } }
  }
`);

const DRAIN = graphql(`mutation Drain($id: ID!) { outcome: drainWorker(id: $id) { position } }`);
const CORDON = graphql(`mutation Cordon($id: ID!) { outcome: cordonWorker(id: $id) { position } }`);
const UNCORDON = graphql(`mutation Uncordon($id: ID!) { outcome: uncordonWorker(id: $id) { position } }`);

export const CHANGES = { drain: DRAIN, cordon: CORDON, uncordon: UNCORDON };
export type Change = keyof typeof CHANGES;
export type WorkerRow = WorkersQuery["workers"]["nodes"][number];

/** Milliseconds for which a worker that was given up is news. */
const NEWS = 86_400_000;

type Standing = Pick<WorkerRow, "state" | "leftAt" | "leftCause">;

/** It should be heard and is not. */
export const isSilent = ({ state, leftAt }: Standing): boolean => state === "INACTIVE" && !leftAt;

/** It is silent, or was given up for it a short time ago; it did not say that it leaves. */
export const isUnresponsive = (it: Standing): boolean =>
  isSilent(it) || (it.leftCause === "LOST" && !!it.leftAt && Date.now() - Date.parse(it.leftAt) < NEWS);
