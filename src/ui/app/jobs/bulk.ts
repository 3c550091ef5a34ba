// What is done to many jobs, and what became of each.
import { ask } from "../data/ask";
import { graphql } from "../gen";
import type { BulkKillMutation, MatchingJobs } from "../gen/graphql";

const KILL = graphql(`
  mutation BulkKill($ids: [ID!], $matching: MatchingJobs, $dryRun: Boolean!) {
    outcomes: killJobs(ids: $ids, matching: $matching, dryRun: $dryRun) {
      jobId nextCursor error { message code } job { ...JobRow }
    }
  }
`);
const RETRY = graphql(`
  mutation BulkRetry($ids: [ID!], $matching: MatchingJobs, $dryRun: Boolean!) {
    outcomes: retryJobs(ids: $ids, matching: $matching, dryRun: $dryRun) {
      jobId nextCursor error { message code } job { ...JobRow }
    }
  }
`);
const STOP = graphql(`
  mutation BulkStop($ids: [ID!], $matching: MatchingJobs, $dryRun: Boolean!) {
    outcomes: stopJobs(ids: $ids, matching: $matching, dryRun: $dryRun) {
      jobId nextCursor error { message code } job { ...JobRow }
    }
  }
`);

export const ACTIONS = { kill: KILL, retry: RETRY, stop: STOP };
export type Action = keyof typeof ACTIONS;
export type Outcome = BulkKillMutation["outcomes"][number];
/** Jobs by their ids, or all that a filter lets through. */
export type Wanted = { ids: string[] } | { matching: MatchingJobs };

/** Many calls when one does not take them all. */
export async function carryOut(action: Action, wanted: Wanted, dryRun: boolean): Promise<Outcome[]> {
  const all: Outcome[] = [];
  let part: Wanted = wanted;
  for (;;) {
    const { outcomes } = await ask(ACTIONS[action], { ...part, dryRun });
    all.push(...outcomes);
    const next = outcomes.at(-1)?.nextCursor;
    if (!next || !("matching" in part)) return all;
    part = { matching: { ...part.matching, after: next } };
  }
}
