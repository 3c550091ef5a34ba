// The cluster at a glance, and what needs attention first. Asked every five seconds.
import type { ReactNode } from "react";
import { useAnswer } from "../data/useAnswer";
import { Badge } from "../design/Badge";
import { Bar } from "../design/Bar";
import { Trouble } from "../design/Notice";
import { Table } from "../design/Table";
import { Time } from "../design/Time";
import { graphql } from "../gen";
import type { OverviewQuery } from "../gen/graphql";
import { sum } from "../jobs/query";
import { Link } from "../route/Link";
import { Attention } from "./Attention";
import { Trends } from "./Trends";

const OVERVIEW = graphql(`
  query Overview {
    clusterOverview {
      at
      jobs { total unfinished }
      tasks { ready scheduled running completed failed retriesPending }
      workers { active inactive pending draining currentTasks maxCapacity }
    }
    failing: jobs(first: 20, filter: { statuses: [FAILED, TIMEOUT, MIXED] }, orderBy: { by: FINISHED_AT, direction: DESC }) {
      nodes { ...JobRow failureSummary }
    }
    silent: workers(first: 100, filter: { states: [INACTIVE] }) { nodes { workerId state leftAt leftCause } }
    quarantine(first: 1) { totalCount }
  }
`);

type Overview = OverviewQuery["clusterOverview"];

function Figure({ label, value, of, href, children }: { label: string; value: number; of?: number; href?: string; children?: ReactNode }) {
  const text = value.toLocaleString() + (of === undefined ? "" : ` / ${of.toLocaleString()}`);
  return (
    <div className="figure">
      <span className="soft">{label}</span>
      <b>{href ? <Link href={href}>{text}</Link> : text}</b>
      {children}
    </div>
  );
}

function Figures({ of: { jobs, tasks, workers } }: { of: Overview }) {
  const full = workers.maxCapacity > 0 && workers.currentTasks >= workers.maxCapacity;
  const taken = `${workers.currentTasks} of ${workers.maxCapacity} slots of active workers are taken`;
  return (
    <div className="groups">
      <section aria-labelledby="of-cluster">
        <h2 id="of-cluster">Cluster</h2>
        <div className="figures">
          <Figure label="Jobs running" value={jobs.unfinished} of={jobs.total} href="/jobs?status=RUNNING" />
          <Figure label="Workers active" value={workers.active} href="/workers" />
          <Figure label="Slots taken" value={workers.currentTasks} of={workers.maxCapacity}>
            <Bar parts={[{ hue: full ? "orange" : "blue", value: workers.currentTasks }]} whole={workers.maxCapacity} label={taken} />
          </Figure>
        </div>
      </section>
      <section aria-labelledby="of-tasks">
        <h2 id="of-tasks">Tasks of unfinished jobs</h2>
        <div className="figures">
          <Figure label="Ready" value={tasks.ready} />
          <Figure label="Scheduled" value={tasks.scheduled} />
          <Figure label="Running" value={tasks.running} />
          <Figure label="Completed" value={tasks.completed} />
          <Figure label="Failed" value={tasks.failed} />
          <Figure label="Retrying" value={tasks.retriesPending} />
        </div>
      </section>
    </div>
  );
}

function Failing({ jobs }: { jobs: OverviewQuery["failing"]["nodes"] }) {
  return (
    <div className="panel">
      <header>
        <h2 className="grow">Jobs that failed last</h2>
        <Link href="/jobs?status=FAILED&status=TIMEOUT&status=MIXED&sort=-FINISHED_AT">All</Link>
      </header>
      <Table
        label="Jobs that failed last"
        columns={["Job", "Status", "Failed tasks", "Why", "Finished"]}
        empty="None has failed."
        rows={jobs.map((job) => (
          <tr key={job.jobId}>
            <td>
              <Link href={`/jobs/${job.jobId}`}>{job.externalId ?? <span className="mono">{job.jobId}</span>}</Link>
            </td>
            <td>
              <Badge state={job.status} />
            </td>
            <td>
              {job.taskCounters.failed.toLocaleString()} of {sum(job).toLocaleString()}
            </td>
            <td>{Object.entries((job.failureSummary ?? {}) as Record<string, number>).map(([reason, count]) => `${reason} ${count}`).join(", ")}</td>
            <td>
              <Time at={job.finishedAt} />
            </td>
          </tr>
        ))}
      />
    </div>
  );
}

export function OverviewPage() {
  const shown = useAnswer(OVERVIEW, {}, "always");
  const { data } = shown;
  return (
    <div className="stack">
      <h1>Overview</h1>
      <Trouble problem={shown.problem} />
      {data && (
        <>
          <Attention data={data} />
          <Figures of={data.clusterOverview} />
          <Trends />
          <Failing jobs={data.failing.nodes.slice(0, 8)} />
        </>
      )}
    </div>
  );
}
