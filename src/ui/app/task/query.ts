import { graphql } from "../gen";
import type { TaskQuery } from "../gen/graphql";

export const TASK = graphql(`
  query Task($id: ID!) {
    task(id: $id) {
      ...TaskRow jobId createdAt explain
      failure { reason message exitCode causes lastLogLines retryable }
      attempts {
        attempt workerId scheduledAt startedAt finishedAt
        failure { reason message exitCode causes lastLogLines retryable }
      }
      job { jobId externalId status }
    }
  }
`);

export const TASK_CHANGED = graphql(`
  subscription TaskChanged($id: ID!, $after: String) {
    taskChanged(taskId: $id, after: $after) { position task { taskId state attempt } }
  }
`);

export const TASK_EVENTS = graphql(`
  query TaskEvents($id: ID!) {
    task(id: $id) { events(first: 200) { nodes { position type at principal streamVersion data } } }
  }
`);

type Task = NonNullable<TaskQuery["task"]>;
export type Attempt = Task["attempts"][number];
export type Failure = NonNullable<Task["failure"]>;
