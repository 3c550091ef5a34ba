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

/** Jobs of one call: what is asked of each counts against what a document may ask for. */
const TOGETHER = 200;

/** As many calls as it takes. */
export async function carryOut(action: Action, wanted: Wanted, dryRun: boolean): Promise<Outcome[]> {
  const all: Outcome[] = [];
  if ("ids" in wanted) {
    for (let begin = 0; begin < wanted.ids.length; begin += TOGETHER) {
      const ids = wanted.ids.slice(begin, begin + TOGETHER);
      all.push(...(await ask(ACTIONS[action], { ids, dryRun })).outcomes);
    }
    return all;
  }
  let after = wanted.matching.after;
  for (;;) {
    const matching = { ...wanted.matching, first: TOGETHER, ...(after && { after }) };
    const { outcomes } = await ask(ACTIONS[action], { matching, dryRun });
    all.push(...outcomes);
    after = outcomes.at(-1)?.nextCursor;
    if (!after) return all;
  }
}
