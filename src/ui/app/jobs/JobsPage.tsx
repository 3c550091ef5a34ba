// All jobs: filtered, sorted, by page; each row changes as its job does.
import { useEffect, useMemo, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { useFollowing, useGathered, useThrottled } from "../data/useFollowing";
import { useMayAct } from "../data/you";
import { Chips, useChosen } from "../design/Chips";
import { Trouble } from "../design/Notice";
import { Pager, usePage } from "../design/Pager";
import { useOrder } from "../design/Sorted";
import type { JobFilter, JobSort } from "../gen/graphql";
import { turn, usePlace } from "../route/route";
import { BulkDialog } from "./BulkDialog";
import type { Action, Wanted } from "./bulk";
import { Export } from "./Export";
import { JobTable } from "./JobTable";
import { type JobRow, JOBS, JOBS_CHANGED, STATUSES } from "./query";

const SORTS: readonly JobSort[] = ["CREATED_AT", "EXTERNAL_ID", "FINISHED_AT"];
/** Milliseconds between two looks at which jobs there are, however many come. */
const PACE = 1_000;
/** Milliseconds in which changes are gathered before they are shown. */
const GATHER = 150;

function useFilter(): JobFilter | null {
  const { query } = usePlace();
  const statuses = useChosen("status", STATUSES);
  const [externalIds, labels] = [query.getAll("externalId"), query.getAll("label")];
  if (statuses.length + externalIds.length + labels.length === 0) return null;
  return {
    ...(statuses.length > 0 && { statuses }),
    ...(externalIds.length > 0 && { externalIds }),
    ...(labels.length > 0 && { labels }),
  };
}

/** A field of the filter: what is written is taken at Enter, or when it is left. */
function Field({ name, label, placeholder }: { name: string; label: string; placeholder: string }) {
  const value = usePlace().query.get(name) ?? "";
  const take = (text: string) => text.trim() !== value && turn({ [name]: text.trim() || null, page: null });
  return (
    <input
      key={value}
      type="search"
      aria-label={label}
      placeholder={placeholder}
      defaultValue={value}
      onKeyDown={(event) => event.key === "Enter" && take(event.currentTarget.value)}
      onBlur={(event) => take(event.currentTarget.value)}
    />
  );
}

export function JobsPage() {
  const place = usePlace();
  const page = usePage();
  const order = useOrder(SORTS, { by: "CREATED_AT", direction: "DESC" });
  const filter = useFilter();
  const shown = useAnswer(JOBS, { first: page.size, page: page.page, filter, orderBy: order });
  const look = useThrottled(shown.refresh, PACE);
  const take = useGathered<JobRow>((come) => {
    const next = new Map(come.map((job) => [job.jobId, job]));
    const known = new Map(shown.data?.jobs.nodes.map(({ jobId, status }) => [jobId, status]));
    const replace = (it: JobRow) => {
      const its = next.get(it.jobId);
      return its ? { ...it, ...its } : it;
    };
    shown.patch((data) => ({ jobs: { ...data.jobs, nodes: data.jobs.nodes.map(replace) } }));
    // A new one, or one that the filter or the order puts elsewhere.
    if (come.some(({ jobId, status }) => known.get(jobId) !== status)) look();
  }, GATHER);
  useFollowing(JOBS_CHANGED, {}, ({ jobChanged: { job } }) => job && take(job), shown.refresh);

  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const [dialog, setDialog] = useState<{ action: Action; wanted: Wanted }>();
  const view = JSON.stringify([page, order, filter]);
  useEffect(() => choose(new Set()), [view]);
  const mayAct = useMayAct();
  const rows = useMemo(() => shown.data?.jobs.nodes ?? [], [shown.data]);
  const total = shown.data?.jobs.totalCount ?? 0;
  const act = (action: Action) => setDialog({ action, wanted: { ids: [...chosen] } });
  const actOnAll = (action: Action) => filter && setDialog({ action, wanted: { matching: { filter } } });

  return (
    <div className="stack">
      <div className="row">
        <h1 className="grow">Jobs</h1>
        <Field name="externalId" label="External id" placeholder="External id" />
        <Field name="label" label="Label" placeholder="label=value" />
        <Export chosen={rows.filter(({ jobId }) => chosen.has(jobId))} query={place.query} />
      </div>
      <Trouble problem={shown.problem} />
      <div className="panel">
        <header>
          <Chips name="status" label="Status" known={STATUSES} />
          <span className="grow" />
          {mayAct && (
            <div className="row" role="group" aria-label="With the chosen jobs">
              {chosen.size > 0 && <span className="soft">{chosen.size} chosen</span>}
              <button type="button" disabled={chosen.size === 0} onClick={() => act("retry")}>
                Retry
              </button>
              <button type="button" disabled={chosen.size === 0} onClick={() => act("stop")}>
                Stop
              </button>
              <button type="button" className="danger" disabled={chosen.size === 0} onClick={() => act("kill")}>
                Kill
              </button>
              {filter && total > rows.length && (
                <>
                  <button type="button" onClick={() => actOnAll("retry")}>
                    Retry all {total.toLocaleString()}
                  </button>
                  <button type="button" className="danger" onClick={() => actOnAll("kill")}>
                    Kill all {total.toLocaleString()}
                  </button>
                </>
              )}
            </div>
          )}
        </header>
        <JobTable
          rows={shown.data?.jobs.nodes}
          view={shown.loading ? undefined : view}
          loading={shown.loading}
          order={order}
          chosen={chosen}
          choose={choose}
          mayAct={mayAct}
        />
        <Pager {...page} total={total} what="jobs" />
      </div>
      {dialog && (
        <BulkDialog
          {...dialog}
          close={() => setDialog(undefined)}
          done={() => {
            choose(new Set());
            shown.refresh();
          }}
        />
      )}
    </div>
  );
}
