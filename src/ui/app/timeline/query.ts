import { graphql } from "../gen";
import type { TimelineQuery } from "../gen/graphql";

/** As many as one question may ask for with their attempts. */
export const MOST_TASKS = 200;

export const TIMELINE = graphql(`
  query Timeline($first: Int!, $page: Int!, $filter: TaskFilter!) {
    tasks(first: $first, page: $page, filter: $filter, orderBy: { by: NUMBER, direction: ASC }) {
      totalCount
      nodes {
        taskId externalId state nextRetryAt
        attempts { attempt workerId scheduledAt startedAt finishedAt failure { reason } }
      }
    }
  }
`);

export type TimedTask = TimelineQuery["tasks"]["nodes"][number];
export type TimedAttempt = TimedTask["attempts"][number];
