// How the cluster does over time: what it gets done, what fails, what waits, and how much room there is.
import "../metrics/metrics.css";
import { useMemo } from "react";
import { Notice, Trouble } from "../design/Notice";
import { useNow } from "../design/Time";
import { Chart, type Told } from "../metrics/Chart";
import type { Question } from "../metrics/query";
import { Ranges } from "../metrics/Ranges";
import { useRange } from "../metrics/ranges";
import { useSeries } from "../metrics/useSeries";
import { type Line, rises, type Span, total } from "../metrics/windows";

/** Of jobs each is asked for by itself: so many of them as an answer holds. */
const ENDED: Question = { metrics: ["tasks_completed", "tasks_failed"], groupBy: "job_id", aggregation: "MAX" };
const WAITING: Question = { metrics: ["tasks_ready"], groupBy: "job_id" };
const WORKERS: Question = { metrics: ["worker_capacity", "worker_running", "worker_queued", "worker_cpu_cores"], groupBy: "worker_id" };
const RECORDS: Question = { metrics: ["task_throughput", "error_rate"], groupBy: "worker_id" };

const of = (lines: readonly Line[], metric: string) => lines.filter((it) => it.metric === metric);

/** The part of what ended that failed. */
function share(failed: ReadonlyMap<number, number>, completed: ReadonlyMap<number, number>): Map<number, number> {
  const parts = new Map<number, number>();
  for (const at of new Set([...failed.keys(), ...completed.keys()])) {
    const [bad, good] = [failed.get(at) ?? 0, completed.get(at) ?? 0];
    if (bad + good > 0) parts.set(at, bad / (bad + good));
  }
  return parts;
}

export function Trends() {
  const now = useNow();
  const chosen = useRange(undefined, now);
  const ended = useSeries(ENDED, chosen);
  const waiting = useSeries(WAITING, chosen);
  const workers = useSeries(WORKERS, chosen);
  const records = useSeries(RECORDS, chosen);
  const { from, to } = chosen.span;
  const interval = ended.interval;
  const span: Span = useMemo(() => ({ from, to, interval }), [from, to, interval]);
  // The beginning of the time moves on by seconds; what has risen is counted by windows.
  const begin = Math.floor(from / interval) * interval;
  const tasks = useMemo(() => {
    const risen = (metric: string) => total(of(ended.lines, metric).map((it) => rises(it, { from: begin, to: null, interval })));
    return { completed: risen("tasks_completed"), failed: risen("tasks_failed") };
  }, [ended.lines, begin, interval]);
  const charts = useMemo(() => {
    const line = (label: string, hue: Told["hue"], values: ReadonlyMap<number, number>): Told => ({ label, hue, values });
    const sum = (lines: readonly Line[], metric: string) => total(of(lines, metric));
    return {
      tasks: [line("completed", "green", tasks.completed), line("failed", "red", tasks.failed)],
      failing: [line("of tasks that ended", "red", share(tasks.failed, tasks.completed))],
      queue: [line("ready", "orange", sum(waiting.lines, "tasks_ready")), line("queued in workers", "gray", sum(workers.lines, "worker_queued"))],
      slots: [line("taken", "blue", sum(workers.lines, "worker_running")), line("there", "gray", sum(workers.lines, "worker_capacity"))],
      records: [line("read", "blue", sum(records.lines, "task_throughput")), line("failed", "red", sum(records.lines, "error_rate"))],
      cores: [line("cores", "accent", sum(workers.lines, "worker_cpu_cores"))],
    };
  }, [tasks, waiting.lines, workers.lines, records.lines]);
  const truncated = ended.truncated || waiting.truncated;
  return (
    <div className="stack" data-part="trends">
      <div className="row">
        <h2 className="grow">Over time</h2>
        <Ranges chosen={chosen} run={false} />
      </div>
      <Trouble problem={ended.problem ?? workers.problem} />
      {truncated && <Notice kind="plain">So many jobs ran that only the newest part of this time is shown.</Notice>}
      <div className="charts">
        <Chart title="Tasks that ended" unit="rate" span={span} told={charts.tasks} whole />
        <Chart title="Failure rate" unit="share" span={span} told={charts.failing} whole />
        <Chart title="Tasks that wait" unit="count" span={span} told={charts.queue} whole={false} />
        <Chart title="Slots of workers" unit="count" span={span} told={charts.slots} whole={false} />
        <Chart title="Records" unit="rate" span={span} told={charts.records} whole />
        <Chart title="Processors of workers" unit="cores" span={span} told={charts.cores} whole={false} />
      </div>
    </div>
  );
}
