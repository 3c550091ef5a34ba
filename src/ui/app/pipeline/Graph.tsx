// A pipeline drawn: its nodes with what goes through them, and the ways that records take.
import { type KeyboardEvent, useMemo, useRef } from "react";
import { show } from "../metrics/units";
import { kindOf, type Node } from "./document";
import { HEIGHT, layout, type Placed, WIDTH, wayDown } from "./layout";
import { NONE, type Numbers } from "./numbers";

interface Props {
  name: string;
  nodes: readonly Node[];
  numbers: ReadonlyMap<string, Numbers>;
  /** Rates are of now. */
  live: boolean;
  chosen: string | undefined;
  choose(id: string | undefined): void;
}

/** What a node has done, by records: a source takes none, and a sink gives none that matter. */
export function throughOf(node: Node, { sums, rates }: Numbers): { sum: number; rate: number } {
  const figure = kindOf(node) === "source" ? "given" : "taken";
  return { sum: sums[figure], rate: rates[figure] };
}

const SIGNS = { source: "▸", transform: "ƒ", sink: "▪", "dead letters": "✕" } as const;
const fits = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** From 1.25 to 3.5, by the power of ten of what went over it. */
const thickness = (sum: number) => Math.min(3.5, 1.25 + Math.log10(1 + sum) / 2.5);

/** Which node keys lead to: along the ways, and to the nearest above and below. */
function neighbour(key: string, here: Placed, placed: readonly Placed[]): Placed | undefined {
  const by = (id: string | undefined) => placed.find(({ node }) => node.id === id);
  switch (key) {
    case "ArrowRight":
      return by(here.node.outputs[0]);
    case "ArrowLeft":
      return placed.find(({ node }) => node.outputs.includes(here.node.id));
    case "ArrowUp":
    case "ArrowDown": {
      const side = key === "ArrowUp" ? -1 : 1;
      const there = placed.filter(({ y }) => Math.sign(y - here.y) === side);
      const far = ({ x, y }: Placed) => Math.abs(y - here.y) + 2 * Math.abs(x - here.x);
      return there.toSorted((a, b) => far(a) - far(b))[0];
    }
    default:
      return undefined;
  }
}

interface BoxProps {
  at: Placed;
  numbers: Numbers;
  live: boolean;
  chosen: boolean;
  toggle(): void;
  key_(event: KeyboardEvent): void;
}

function Box({ at: { node, x, y }, numbers, live, chosen, toggle, key_ }: BoxProps) {
  const kind = kindOf(node);
  const { sum, rate } = throughOf(node, numbers);
  const { failed } = numbers.sums;
  const failing = failed > 0 ? `${show(failed, "count")} failed` : "none failed";
  const words = `${node.id}, ${kind}, ${node.commandName}: ${show(sum, "count")} records, ${show(rate, "rate")}, ${failing}`;
  const bad = `✕ ${show(failed, "count")}`;
  const wide = 14 + 6.4 * bad.length;
  return (
    <g className={`node ${kind.replace(" ", "-")} ${chosen ? "chosen" : ""}`} transform={`translate(${x} ${y})`}>
      <title>{words}</title>
      <rect className="box" width={WIDTH} height={HEIGHT} rx="7" />
      <path className="side" d={`M7,0.5 H5 V${HEIGHT - 0.5} H7 A6.5,6.5 0 0 1 0.5,${HEIGHT - 7} V7 A6.5,6.5 0 0 1 7,0.5 Z`} />
      <text className="sign" x="15" y="22">
        {SIGNS[kind]}
      </text>
      <text className="name" x="30" y="22">
        {fits(node.id, 20)}
      </text>
      <text className="command" x="30" y="36">
        {fits(node.commandName, 24)}
      </text>
      <text className="rate" x="30" y="53">
        {show(sum, "count")}
        <tspan className="unit">{` records`}</tspan>
      </text>
      <text className="unit" x={WIDTH - 10} y="53" textAnchor="end">
        {show(rate, "rate")}
        {live ? "" : " mean"}
      </text>
      {failed > 0 && (
        <g className="failed" transform={`translate(${WIDTH - wide - 6} -9)`}>
          <rect width={wide} height="18" rx="9" />
          <text x={wide / 2} y="13" textAnchor="middle">
            {bad}
          </text>
        </g>
      )}
      {/* What is pressed lies over all, and says it in words. */}
      <rect
        className="hit"
        width={WIDTH}
        height={HEIGHT}
        rx="7"
        role="button"
        tabIndex={0}
        aria-pressed={chosen}
        aria-label={words}
        data-node={node.id}
        onClick={toggle}
        onKeyDown={key_}
      />
    </g>
  );
}

export function Graph({ name, nodes, numbers, live, chosen, choose }: Props) {
  const { width, height, placed, ways } = useMemo(() => layout(nodes), [nodes]);
  const svg = useRef<SVGSVGElement>(null);
  const of = (id: string) => numbers.get(id) ?? NONE;
  const dead = placed.find(({ node }) => kindOf(node) === "dead letters" && !ways.some(({ to }) => to === node.id));
  const failing = placed.filter(({ node }) => node !== dead?.node && of(node.id).sums.failed > 0);
  const keys = (here: Placed) => (event: KeyboardEvent) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(chosen === here.node.id ? undefined : here.node.id);
    }
    const next = neighbour(event.key, here, placed);
    if (!next) return;
    event.preventDefault();
    svg.current?.querySelector<SVGRectElement>(`[data-node="${CSS.escape(next.node.id)}"]`)?.focus();
  };
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <section className="graph" tabIndex={0} aria-label={`Nodes of ${name}, from sources to sinks`}>
      <svg ref={svg} viewBox={`0 0 ${width} ${height}`} style={{ width, minWidth: 0.6 * width }} role="group" aria-label={`Pipeline ${name}`}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="11" markerHeight="11" markerUnits="userSpaceOnUse" orient="auto">
            <path className="tip" d="M0,0.5 L7,4 L0,7.5 Z" />
          </marker>
          <marker id="tip-failed" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="11" markerHeight="11" markerUnits="userSpaceOnUse" orient="auto">
            <path className="tip-failed" d="M0,0.5 L7,4 L0,7.5 Z" />
          </marker>
        </defs>
        {ways.map(({ from, to, path }) => (
          <path key={`${from} ${to}`} className="way" d={path} strokeWidth={thickness(of(from).sums.given)} markerEnd="url(#tip)" />
        ))}
        {dead && failing.map((it) => <path key={it.node.id} className="way-failed" d={wayDown(it, dead)} markerEnd="url(#tip-failed)" />)}
        {placed.map((it) => (
          <Box
            key={it.node.id}
            at={it}
            numbers={of(it.node.id)}
            live={live}
            chosen={chosen === it.node.id}
            toggle={() => choose(chosen === it.node.id ? undefined : it.node.id)}
            key_={keys(it)}
          />
        ))}
      </svg>
    </section>
  );
}
