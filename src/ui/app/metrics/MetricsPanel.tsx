// The charts of a job, a task or a worker, over the time that is chosen, as new points come.
import "./metrics.css";
import { useMemo } from "react";
import { Notice, Trouble } from "../design/Notice";
import { useNow } from "../design/Time";
import { Chart, type Told } from "./Chart";
import type { Figure } from "./figures";
import { Ranges } from "./Ranges";
import { type Life, useRange } from "./ranges";
import { useSeries } from "./useSeries";
import type { Line, Span } from "./windows";

interface Props {
  /** The tag that what is shown is of, such as job_id, and its value. */
  tag: "job_id" | "task_id" | "worker_id";
  id: string;
  figures: readonly Figure[];
  /** From its beginning to its end, if it has them. */
  life?: Life;
}

const NONE: readonly Told[] = [];

/** What programs report themselves has names of their own. */
function reported(lines: readonly Line[]): Figure[] {
  return lines.map(({ group }) => ({ title: group, unit: "count", note: "reported", metrics: { [group]: ["mean", "accent"] }, whole: false }));
}

function told(figure: Figure, lines: readonly Line[], named: (line: Line) => string): readonly Told[] {
  const found = Object.entries(figure.metrics).flatMap(([metric, [label, hue]]) => {
    const line = lines.find((it) => named(it) === metric);
    return line ? [{ label, hue, values: line.values }] : [];
  });
  return found.length > 0 ? found : NONE;
}

interface Shown {
  figure: Figure;
  told: readonly Told[];
}

export function MetricsPanel({ tag, id, figures, life }: Props) {
  const now = useNow();
  const chosen = useRange(life, now);
  const asked = useMemo(() => {
    const tags = [{ key: tag, values: [id] }];
    return {
      own: { metrics: figures.flatMap(({ metrics }) => Object.keys(metrics)), tags, groupBy: tag },
      reported: { metrics: ["reported"], tags, groupBy: "name" },
    };
  }, [tag, id, figures]);
  const own = useSeries(asked.own, chosen);
  const theirs = useSeries(tag === "worker_id" ? null : asked.reported, chosen);
  const shown = useMemo<Shown[]>(
    () => [
      ...figures.map((figure) => ({ figure, told: told(figure, own.lines, ({ metric }) => metric) })),
      ...reported(theirs.lines).map((figure) => ({ figure, told: told(figure, theirs.lines, ({ group }) => group) })),
    ],
    [figures, own.lines, theirs.lines],
  );
  const measured = shown.filter((it) => it.told.some(({ values }) => values.size > 0));
  const missing = shown.filter((it) => !measured.includes(it)).map(({ figure }) => figure.title);
  const span: Span = { ...chosen.span, interval: own.interval };
  return (
    <div className="stack" data-part="metrics">
      <div className="row">
        <Ranges chosen={chosen} run={life !== undefined} />
        <span className="grow" />
        <span className="soft small">Draw over a chart to see a part of it; arrow keys point at times.</span>
      </div>
      <Trouble problem={own.problem ?? theirs.problem} />
      {own.truncated && <Notice kind="warn">There are more points than can be shown at once: the oldest are left out.</Notice>}
      {measured.length > 0 && (
        <div className="charts">
          {measured.map(({ figure, told }) => (
            <Chart key={figure.title} {...figure} span={span} told={told} />
          ))}
        </div>
      )}
      {!own.waiting && missing.length > 0 && (
        <p className="soft small">
          {measured.length === 0 ? "Nothing was measured in this time: " : "Not measured in this time: "}
          {missing.join(", ")}.
        </p>
      )}
    </div>
  );
}
