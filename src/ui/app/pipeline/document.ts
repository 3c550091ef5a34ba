// The pipelines of a job, read from its document as it was submitted.

export interface Node {
  id: string;
  commandName: string;
  config: unknown;
  outputs: string[];
}

export interface Pipeline {
  /** Of the task in the document. */
  name: string;
  replicas: number;
  /** The number of its first replica among the tasks of the job, from 1. */
  first: number;
  nodes: Node[];
}

interface Written {
  tasks?: { externalId?: string; replicas?: number; dag?: Partial<Node>[] }[];
}

async function read(contentType: string, text: string): Promise<Written> {
  if (contentType === "application/json") return JSON.parse(text) as Written;
  const { parse } = await import("yaml");
  return (parse(text, { merge: true }) ?? {}) as Written;
}

/** Those of its tasks that are pipelines, in the order of the document. */
export async function pipelines({ contentType, text }: { contentType: string; text: string }): Promise<Pipeline[]> {
  const { tasks = [] } = await read(contentType, text);
  const found: Pipeline[] = [];
  let first = 1;
  for (const { externalId = "", replicas = 1, dag } of tasks) {
    if (dag) {
      const nodes = dag.map(({ id = "", commandName = "", config = {}, outputs = [] }) => ({ id: String(id), commandName, config, outputs: outputs.map(String) }));
      found.push({ name: externalId, replicas, first, nodes });
    }
    first += replicas;
  }
  return found;
}

export type Kind = "source" | "transform" | "sink" | "dead letters";

export function kindOf(node: Node): Kind {
  if ((node.config as { deadletter?: boolean } | null)?.deadletter === true) return "dead letters";
  if (node.commandName.endsWith("source")) return "source";
  return node.outputs.length === 0 ? "sink" : "transform";
}
