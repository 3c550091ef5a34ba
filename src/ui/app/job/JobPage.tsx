// One job: how far it is, its tasks, its history, and what can be done.
import { lazy, Suspense } from "react";
import { useAnswer } from "../data/useAnswer";
import { useFollowing, useThrottled } from "../data/useFollowing";
import { Badge } from "../design/Badge";
import { Absent, Trouble } from "../design/Notice";
import { Tabs } from "../design/Tabs";
import { Time } from "../design/Time";
import { LogViewer } from "../logs/LogViewer";
import { OF_JOB } from "../metrics/figures";
import { MetricsPanel } from "../metrics/MetricsPanel";
import { usePlace } from "../route/route";
import { Actions } from "./Actions";
import { Explain } from "./Explain";
import { JobDocument } from "./JobDocument";
import { JobHistory } from "./JobHistory";
import { Progress } from "./Progress";
import { JOB, JOB_CHANGED } from "./query";
import { Retries } from "./Retries";
import { Tasks } from "./Tasks";

const PastPanel = lazy(() => import("../past/PastPanel"));
const TimelinePanel = lazy(() => import("../timeline/TimelinePanel"));
const PipelinePanel = lazy(() => import("../pipeline/PipelinePanel"));

const PACE = 1_000;

export function JobPage({ id }: { id: string }) {
  const shown = useAnswer(JOB, { id });
  // The sentence that explains is asked for: it does not come by itself.
  const look = useThrottled(shown.refresh, PACE);
  useFollowing(
    JOB_CHANGED,
    { id },
    ({ jobChanged: { job } }) => {
      if (!job) return;
      shown.patch((data) => (data.job ? { job: { ...data.job, ...job } } : data));
      look();
    },
    shown.refresh,
  );
  const { query } = usePlace();
  // A link to a time of the past needs no more than that.
  const tab = query.get("tab") ?? (query.has("asOf") ? "history" : "tasks");
  const job = shown.data?.job;
  if (!job) {
    return <Absent what="Job" id={id} problem={shown.problem} />;
  }
  const labels = Object.entries((job.labels ?? {}) as Record<string, string>);
  const failures = Object.entries((job.failureSummary ?? {}) as Record<string, number>);
  const version = JSON.stringify([job.taskCounters, job.status, job.retriesPending]);
  return (
    <div className="stack">
      <div className="row">
        <h1>{job.externalId ?? "Job"}</h1>
        <Badge state={job.status} />
        <span className="grow" />
        <Actions job={job} done={shown.refresh} />
      </div>
      <Trouble problem={shown.problem} />
      <dl className="facts">
        <div>
          <dt>Job</dt>
          <dd className="mono">{job.jobId}</dd>
        </div>
        <div>
          <dt>Created</dt>
          <dd>
            <Time at={job.createdAt} />
          </dd>
        </div>
        <div>
          <dt>Finished</dt>
          <dd>
            <Time at={job.finishedAt} />
          </dd>
        </div>
        {labels.length > 0 && (
          <div>
            <dt>Labels</dt>
            <dd>{labels.map(([name, value]) => `${name}=${value}`).join(", ")}</dd>
          </div>
        )}
        {failures.length > 0 && (
          <div>
            <dt>Failed for good</dt>
            <dd>{failures.map(([reason, count]) => `${reason} ${count}`).join(", ")}</dd>
          </div>
        )}
      </dl>
      <Explain explain={job.explain} />
      <Progress job={job} />
      <Tabs
        chosen={tab}
        tabs={{ tasks: "Tasks", timeline: "Timeline", retries: `Retries (${job.retriesPending})`, pipeline: "Pipeline", metrics: "Metrics", logs: "Logs", history: "History", document: "Document" }}
      />
      {tab === "tasks" && <Tasks jobId={job.jobId} />}
      {tab === "retries" && <Retries jobId={job.jobId} version={version} />}
      {tab === "timeline" && (
        <Suspense>
          <TimelinePanel jobId={job.jobId} created={job.createdAt} finished={job.finishedAt} />
        </Suspense>
      )}
      {tab === "pipeline" && (
        <Suspense>
          <PipelinePanel jobId={job.jobId} life={{ begin: job.createdAt, end: job.finishedAt }} />
        </Suspense>
      )}
      {tab === "metrics" && (
        <MetricsPanel tag="job_id" id={job.jobId} figures={OF_JOB} life={{ begin: job.createdAt, end: job.finishedAt }} />
      )}
      {tab === "logs" && <LogViewer of={{ jobIds: [job.jobId] }} nameTask />}
      {tab === "history" && (
        <>
          <Suspense>
            <PastPanel job={job} version={version} />
          </Suspense>
          <JobHistory jobId={job.jobId} version={version} />
        </>
      )}
      {tab === "document" && <JobDocument jobId={job.jobId} />}
    </div>
  );
}
