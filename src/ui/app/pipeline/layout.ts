// Where the nodes of a pipeline and the ways between them are drawn: in layers, from the sources to the sinks.
import { Graph, layout as place } from "@dagrejs/dagre";
import { kindOf, type Node } from "./document";

export const WIDTH = 200;
export const HEIGHT = 62;

export interface Placed {
  node: Node;
  /** Of its left upper corner. */
  x: number;
  y: number;
}

export interface Way {
  from: string;
  to: string;
  /** As the `d` of a path. */
  path: string;
}

export interface Layout {
  width: number;
  height: number;
  placed: Placed[];
  ways: Way[];
}

interface At {
  x: number;
  y: number;
}

/** A way that leaves to the right, and comes from the left. */
function curve(points: readonly At[]): string {
  const [begin, ...rest] = points;
  if (!begin) return "";
  let path = `M${begin.x},${begin.y}`;
  let last = begin;
  for (const next of rest) {
    const middle = (last.x + next.x) / 2;
    path += ` C${middle},${last.y} ${middle},${next.y} ${next.x},${next.y}`;
    last = next;
  }
  return path;
}

/** What nobody leads to takes the records that fail anywhere: it stands below the others. */
const isApart = (node: Node, nodes: readonly Node[]) =>
  kindOf(node) === "dead letters" && !nodes.some(({ outputs }) => outputs.includes(node.id));

export function layout(nodes: readonly Node[]): Layout {
  const graph = new Graph<object, { width: number; height: number; x?: number; y?: number }, { points?: At[] }>();
  graph.setGraph({ rankdir: "LR", nodesep: 22, ranksep: 56, marginx: 14, marginy: 14 });
  graph.setDefaultEdgeLabel(() => ({}));
  const led = nodes.filter((node) => !isApart(node, nodes));
  for (const { id } of led) graph.setNode(id, { width: WIDTH, height: HEIGHT });
  for (const { id, outputs } of led) for (const to of outputs) graph.setEdge(id, to);
  place(graph as never);
  const size = graph.graph() as { width?: number; height?: number };
  let [width, height] = [size.width ?? WIDTH, size.height ?? HEIGHT];
  const placed = led.map((node) => {
    const { x = 0, y = 0 } = graph.node(node.id) ?? {};
    return { node, x: x - WIDTH / 2, y: y - HEIGHT / 2 };
  });
  const where = new Map(placed.map((it) => [it.node.id, it]));
  const ways = led.flatMap(({ id, outputs }) =>
    outputs.flatMap((to) => {
      const [begin, end] = [where.get(id), where.get(to)];
      if (!begin || !end) return [];
      const between = ((graph.edge(id, to) as { points?: At[] } | undefined)?.points ?? []).slice(1, -1);
      const from = { x: begin.x + WIDTH, y: begin.y + HEIGHT / 2 };
      const until = { x: end.x - 5, y: end.y + HEIGHT / 2 };
      // A way to the next layer needs no point between.
      return [{ from: id, to, path: curve([from, ...(between.length > 1 ? between : []), until]) }];
    }),
  );
  const right = Math.max(...placed.map(({ x }) => x), 14);
  for (const node of nodes.filter((it) => isApart(it, nodes))) {
    placed.push({ node, x: right, y: height + 10 });
    height += HEIGHT + 24;
  }
  width = Math.max(width, right + WIDTH + 14);
  return { width, height, placed, ways };
}

/** From below a node to the left of where its failed records go. */
export function wayDown(from: Placed, to: Placed): string {
  const begin = { x: from.x + WIDTH / 2, y: from.y + HEIGHT };
  const end = { x: to.x - 5, y: to.y + HEIGHT / 2 };
  const radius = Math.min(24, Math.max(0, (end.x - begin.x) / 2), Math.max(0, end.y - begin.y));
  return `M${begin.x},${begin.y} V${end.y - radius} Q${begin.x},${end.y} ${begin.x + radius},${end.y} H${end.x}`;
}
