// The cluster at a glance, and what needs attention first. Asked every five seconds.
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

function Figure({ label, value, of, href }: { label: string; value: number; of?: number; href?: string }) {
  const text = value.toLocaleString() + (of === undefined ? "" : ` / ${of.toLocaleString()}`);
  return (
    <div className="figure">
      <span className="soft">{label}</span>
      <b>{href ? <Link href={href}>{text}</Link> : text}</b>
    </div>
  );
}

function Capacity({ workers }: { workers: Overview["workers"] }) {
  const label = `${workers.currentTasks} of ${workers.maxCapacity} slots of active workers are taken`;
  const full = workers.currentTasks >= workers.maxCapacity;
  return (
    <div className="panel">
      <header>
        <h2 className="grow">Capacity</h2>
        <span className="soft">{label}</span>
      </header>
      <div className="body">
        <Bar parts={[{ hue: full ? "orange" : "blue", value: workers.currentTasks }]} whole={workers.maxCapacity} label={label} />
      </div>
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
          <div className="figures">
            <Figure label="Jobs running" value={data.clusterOverview.jobs.unfinished} of={data.clusterOverview.jobs.total} href="/jobs?status=RUNNING" />
            <Figure label="Workers active" value={data.clusterOverview.workers.active} href="/workers" />
            <Figure label="Tasks ready" value={data.clusterOverview.tasks.ready} />
            <Figure label="Scheduled" value={data.clusterOverview.tasks.scheduled} />
            <Figure label="Running" value={data.clusterOverview.tasks.running} />
            <Figure label="Completed" value={data.clusterOverview.tasks.completed} />
            <Figure label="Failed" value={data.clusterOverview.tasks.failed} />
            <Figure label="Retrying" value={data.clusterOverview.tasks.retriesPending} />
          </div>
          <p className="soft small">Tasks are those of unfinished jobs.</p>
          <Capacity workers={data.clusterOverview.workers} />
          <Trends />
          <Failing jobs={data.failing.nodes.slice(0, 8)} />
        </>
      )}
    </div>
  );
}
