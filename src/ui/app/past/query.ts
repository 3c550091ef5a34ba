import { graphql } from "../gen";
import type { JobAsOfQuery } from "../gen/graphql";

export const JOB_AS_OF = graphql(`
  query JobAsOf($id: ID!, $at: DateTime!, $first: Int!, $after: String) {
    jobAsOf(id: $id, at: $at) {
      asOf provisional
      job {
        ...JobRow failureSummary
        tasks(first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { ...TaskRow } }
      }
    }
  }
`);

export const MOMENTS = graphql(`
  query Moments($id: ID!, $filter: TaskFilter!) {
    job(id: $id) { events(first: 200) { nodes { type at } } }
    tasks(first: 150, filter: $filter, orderBy: { by: NUMBER, direction: ASC }) {
      totalCount
      nodes {
        taskId externalId state nextRetryAt
        attempts { attempt workerId scheduledAt startedAt finishedAt failure { reason } }
      }
    }
  }
`);

export type PastTasks = NonNullable<JobAsOfQuery["jobAsOf"]>["job"]["tasks"];
