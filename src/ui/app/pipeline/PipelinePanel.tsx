// The pipelines of a job, drawn from its document, with what went through each node. Loaded when it is first shown.
import "../metrics/metrics.css";
import "./pipeline.css";
import { useEffect, useState } from "react";
import { Problem } from "../data/problem";
import { useAnswer } from "../data/useAnswer";
import { Count } from "../design/Count";
import { Trouble } from "../design/Notice";
import { NumberHead, Table } from "../design/Table";
import { useNow } from "../design/Time";
import { JOB_DOCUMENT } from "../job/query";
import { Ranges } from "../metrics/Ranges";
import { type Life, useRange } from "../metrics/ranges";
import { show } from "../metrics/units";
import { turn, usePlace } from "../route/route";
import { kindOf, type Pipeline, pipelines } from "./document";
import { Graph } from "./Graph";
import { NodeDetails } from "./NodeDetails";
import { NONE, type Numbers, useNumbers } from "./numbers";

function usePipelines(jobId: string): { found: Pipeline[] | undefined; problem: Problem | undefined } {
  const shown = useAnswer(JOB_DOCUMENT, { id: jobId });
  const document = shown.data?.job?.document;
  const [found, setFound] = useState<Pipeline[]>();
  const [problem, setProblem] = useState<Problem>();
  const text = document?.text;
  const contentType = document?.contentType ?? "";
  useEffect(() => {
    if (text === undefined) return;
    pipelines({ contentType, text }).then(setFound, (error: unknown) => setProblem(new Problem(Problem.from(error).message, "UNREADABLE")));
  }, [contentType, text]);
  return { found, problem: problem ?? shown.problem };
}

interface TableProps {
  pipeline: Pipeline;
  numbers: ReadonlyMap<string, Numbers>;
  chosen: string | undefined;
  choose(id: string | undefined): void;
}

const COLUMNS = [
  "Node",
  "Kind",
  "Command",
  "Goes to",
  ...["Taken", "Given", "Rate", "Failed"].map((it) => <NumberHead key={it}>{it}</NumberHead>),
];

function Nodes({ pipeline, numbers, chosen, choose }: TableProps) {
  const rows = pipeline.nodes.map((node) => {
    const { sums, rates } = numbers.get(node.id) ?? NONE;
    return (
      <tr key={node.id} aria-selected={chosen === node.id} data-row={node.id}>
        <td>
          <button type="button" className="link" onClick={() => choose(chosen === node.id ? undefined : node.id)}>
            {node.id}
          </button>
        </td>
        <td>{kindOf(node)}</td>
        <td className="mono">{node.commandName}</td>
        <td>{node.outputs.join(", ") || <span className="soft">–</span>}</td>
        <Count value={sums.taken} />
        <Count value={sums.given} />
        <td className="number">{show(Math.max(rates.taken, rates.given), "rate")}</td>
        <Count value={sums.failed} />
      </tr>
    );
  });
  return <Table label={`Numbers of the nodes of ${pipeline.name}`} columns={COLUMNS} rows={rows} empty="It has no nodes." />;
}

const choose = (id: string | undefined) => turn({ node: id ?? null });

interface ShownProps {
  jobId: string;
  pipeline: Pipeline;
  all: Pipeline[];
  life: Life;
}

function Shown({ jobId, pipeline, all, life }: ShownProps) {
  const now = useNow();
  const chosen = useRange(life, now);
  const { of, interval, problem } = useNumbers(jobId, pipeline, all, chosen, now);
  const id = usePlace().query.get("node") ?? undefined;
  const node = pipeline.nodes.find((it) => it.id === id);
  const replicas = pipeline.replicas === 1 ? "1 replica" : `${pipeline.replicas.toLocaleString()} replicas`;
  return (
    <>
      <div className="panel">
        <header>
          {all.length > 1 ? (
            <div className="chips" role="group" aria-label="Pipeline">
              {all.map(({ name }) => (
                <button key={name} type="button" aria-pressed={name === pipeline.name} onClick={() => turn({ pipeline: name, node: null })}>
                  {name}
                </button>
              ))}
            </div>
          ) : (
            <h2>{pipeline.name}</h2>
          )}
          <span className="soft">
            {pipeline.nodes.length} nodes, {replicas}
          </span>
          <span className="grow" />
          <Ranges chosen={chosen} run />
        </header>
        <Trouble problem={problem} />
        <Graph name={pipeline.name} nodes={pipeline.nodes} numbers={of} live={chosen.span.to === null} chosen={node?.id} choose={choose} />
      </div>
      {node && (
        <NodeDetails
          key={node.id}
          jobId={jobId}
          node={node}
          numbers={of.get(node.id) ?? NONE}
          span={{ ...chosen.span, interval }}
          close={() => choose(undefined)}
        />
      )}
      <div className="panel">
        <Nodes pipeline={pipeline} numbers={of} chosen={node?.id} choose={choose} />
      </div>
    </>
  );
}

export default function PipelinePanel({ jobId, life }: { jobId: string; life: Life }) {
  const { found, problem } = usePipelines(jobId);
  const wanted = usePlace().query.get("pipeline");
  const pipeline = found?.find(({ name }) => name === wanted) ?? found?.[0];
  return (
    <div className="stack" data-part="pipeline">
      <Trouble problem={problem} />
      {found && !pipeline && <p className="panel empty">No task of this job is a pipeline: its tasks run programs.</p>}
      {found && pipeline && <Shown key={pipeline.name} jobId={jobId} pipeline={pipeline} all={found} life={life} />}
    </div>
  );
}
