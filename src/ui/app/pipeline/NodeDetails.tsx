// One node of a pipeline: what it did over time, how it was told to, and the last records that failed at it.
import { useAnswer } from "../data/useAnswer";
import { Facts } from "../design/Facts";
import { Trouble } from "../design/Notice";
import { Time } from "../design/Time";
import { graphql } from "../gen";
import { Chart } from "../metrics/Chart";
import { show } from "../metrics/units";
import type { Span } from "../metrics/windows";
import { Link } from "../route/Link";
import { kindOf, type Node } from "./document";
import type { Numbers } from "./numbers";

const FAILED = graphql(`
  query FailedRecords($id: ID!, $node: String!) {
    deadLetters(jobId: $id, node: $node, first: 5) {
      failed kept nodes { taskId number attempt at error record }
    }
  }
`);

function FailedRecords({ jobId, node }: { jobId: string; node: string }) {
  const shown = useAnswer(FAILED, { id: jobId, node }, "always");
  const found = shown.data?.deadLetters;
  return (
    <div className="failed-records">
      <h3>Records that failed here</h3>
      <Trouble problem={shown.problem} />
      {found?.nodes.length === 0 && <p className="soft">None is kept.</p>}
      <ul>
        {found?.nodes.map((it) => (
          <li key={`${it.taskId} ${it.number}`}>
            <p>
              <strong>{it.error}</strong>{" "}
              <span className="soft">
                <Link href={`/tasks/${it.taskId}`}>task {it.taskId.split("-").at(-1)}</Link>, attempt {it.attempt}, <Time at={it.at} />
              </span>
            </p>
            <code>{typeof it.record === "string" ? it.record : JSON.stringify(it.record)}</code>
          </li>
        ))}
      </ul>
    </div>
  );
}

interface Props {
  jobId: string;
  node: Node;
  numbers: Numbers;
  span: Span;
  close(): void;
}

export function NodeDetails({ jobId, node, numbers, span, close }: Props) {
  const { sums, rates, values } = numbers;
  const told = [
    { label: "taken", hue: "blue", values: values.taken },
    { label: "given", hue: "green", values: values.given },
    { label: "failed", hue: "red", values: values.failed },
  ] as const;
  const facts = {
    Taken: `${show(sums.taken, "count")} (${show(rates.taken, "rate")})`,
    Given: `${show(sums.given, "count")} (${show(rates.given, "rate")})`,
    Failed: `${show(sums.failed, "count")} (${show(rates.failed, "rate")})`,
    ...(sums.bytesRead > 0 && { Read: show(sums.bytesRead, "bytes") }),
    ...(sums.bytesWritten > 0 && { Written: show(sums.bytesWritten, "bytes") }),
    "Goes to": node.outputs.join(", ") || "nothing further",
  };
  return (
    <section className="panel node-details" aria-label={`Node ${node.id}`} data-part="node">
      <header>
        <h2>{node.id}</h2>
        <span className="soft">
          {node.commandName}, {kindOf(node)}
        </span>
        <span className="grow" />
        <button type="button" className="plain" onClick={close} aria-label="Close the node">
          ✕
        </button>
      </header>
      <div className="body parts">
        <div className="stack">
          <Facts of={facts} />
          <div>
            <h3>How it is told to</h3>
            <pre className="config">{JSON.stringify(node.config, null, 2)}</pre>
          </div>
        </div>
        <div className="stack">
          <Chart title="Its records" unit="rate" span={span} told={told} whole />
          {sums.failed > 0 && <FailedRecords jobId={jobId} node={node.id} />}
        </div>
      </div>
    </section>
  );
}
