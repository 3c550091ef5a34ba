import { graphql } from "../gen";
import type { JobsQuery, JobStatus } from "../gen/graphql";

export const STATUSES: readonly JobStatus[] = ["RUNNING", "COMPLETED", "FAILED", "TIMEOUT", "MIXED", "EMPTY"];

export const JOB_ROW = graphql(`
  fragment JobRow on Job {
    jobId externalId labels status createdAt finishedAt retriesPending
    taskCounters { ready scheduled running completed failed }
  }
`);

export const JOBS = graphql(`
  query Jobs($first: Int!, $page: Int!, $filter: JobFilter, $orderBy: JobOrder) {
    jobs(first: $first, page: $page, filter: $filter, orderBy: $orderBy) { totalCount nodes { ...JobRow } }
  }
`);

export const JOBS_CHANGED = graphql(`
  subscription JobsChanged($after: String) {
    jobChanged(after: $after) { position job { ...JobRow } }
  }
`);

export type JobRow = JobsQuery["jobs"]["nodes"][number];

/** All its tasks. */
export const sum = ({ taskCounters: it }: Pick<JobRow, "taskCounters">): number =>
  it.ready + it.scheduled + it.running + it.completed + it.failed;
