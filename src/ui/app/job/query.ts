import { graphql } from "../gen";
import type { JobTasksQuery, TaskState } from "../gen/graphql";

export const TASK_STATES: readonly TaskState[] = ["READY", "SCHEDULED", "RUNNING", "COMPLETED", "FAILED"];

export const JOB = graphql(`
  query Job($id: ID!) {
    job(id: $id) { ...JobRow failureSummary explain }
  }
`);

export const JOB_CHANGED = graphql(`
  subscription JobChanged($id: ID!, $after: String) {
    jobChanged(jobId: $id, after: $after) { position job { ...JobRow failureSummary } }
  }
`);

export const TASK_ROW = graphql(`
  fragment TaskRow on Task {
    taskId externalId replicaIndex state attempt retryCount maxRetries nextRetryAt workerId
    scheduledAt startedAt finishedAt failure { reason message }
  }
`);

export const JOB_TASKS = graphql(`
  query JobTasks($first: Int!, $page: Int!, $filter: TaskFilter!) {
    tasks(first: $first, page: $page, filter: $filter, orderBy: { by: NUMBER, direction: ASC }) {
      totalCount nodes { ...TaskRow }
    }
  }
`);

export const TASKS_CHANGED = graphql(`
  subscription TasksChanged($id: ID!, $after: String) {
    taskChanged(jobId: $id, after: $after) { position task { ...TaskRow } }
  }
`);

export const JOB_EVENTS = graphql(`
  query JobEvents($id: ID!, $first: Int!) {
    job(id: $id) { events(first: $first) { pageInfo { hasNextPage } nodes { position type at principal streamVersion data } } }
  }
`);

export const JOB_RETRIES = graphql(`
  query JobRetries($id: ID!) {
    retries(jobId: $id, first: 200) {
      totalCount nodes { taskId externalId attempt retryCount maxRetries nextRetryAt failure { reason message } }
    }
  }
`);

export const JOB_DOCUMENT = graphql(`
  query JobDocument($id: ID!) {
    job(id: $id) { document { contentType text } }
  }
`);

export type TaskRow = JobTasksQuery["tasks"]["nodes"][number];
