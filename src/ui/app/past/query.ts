import { graphql } from "../gen";
import { type TaskAsOfQuery, TaskRowFragmentDoc, TypedDocumentString } from "../gen/graphql";

export const JOB_AS_OF = graphql(`
  query JobAsOf($id: ID!, $at: DateTime!) {
    jobAsOf(id: $id, at: $at) {
      asOf provisional job { ...JobRow failureSummary }
    }
  }
`);

/** What is asked of a task. */
export const TASK_AS_OF = graphql(`
  query TaskAsOf($id: ID!, $at: DateTime!) {
    taskAsOf(id: $id, at: $at) { task { ...TaskRow } }
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

type PastTask = TaskAsOfQuery["taskAsOf"];

/** Of a job, by number; one call for all of them. */
export function tasksAsOf(
  jobId: string,
  numbers: readonly number[],
  at: string,
): { document: TypedDocumentString<Record<string, PastTask>, Record<string, string>>; variables: Record<string, string> } {
  const asked = numbers.map((number) => `t${number}: taskAsOf(id: $t${number}, at: $at) { task { ...TaskRow } }`);
  const given = numbers.map((number) => `$t${number}: ID!`);
  const text = `query TasksAsOf($at: DateTime!, ${given.join(", ")}) { ${asked.join(" ")} }\n${TaskRowFragmentDoc.toString()}`;
  const ids = numbers.map((number) => [`t${number}`, `${jobId.replace(/^job-/, "task-")}-${number}`]);
  return { document: new TypedDocumentString(text), variables: { at, ...Object.fromEntries(ids) } };
}
