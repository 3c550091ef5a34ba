// One question to the server, and its answer.
import type { TypedDocumentString } from "../gen/graphql";
import { Problem } from "./problem";
import { authorization } from "./session";

/** How long an answer is waited for, in milliseconds. */
const PATIENCE = 15_000;

/** Of GraphQL; or a problem, when the request did not come that far. */
interface Answer<R> {
  data?: R | null;
  errors?: { message: string; extensions?: Record<string, unknown> }[];
  detail?: string;
  code?: string;
}

/** Throws a Problem when there is no answer, or not all of it. */
export async function ask<R, V>(document: TypedDocumentString<R, V>, variables: V, stop?: AbortSignal): Promise<R> {
  const signals = [AbortSignal.timeout(PATIENCE), ...(stop ? [stop] : [])];
  let answer: Answer<R>;
  try {
    const response = await fetch("/graphql", {
      method: "POST",
      headers: { ...authorization(), "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ query: document.toString(), variables }),
      signal: AbortSignal.any(signals),
    });
    answer = (await response.json()) as Answer<R>;
  } catch (error) {
    if (stop?.aborted) throw error;
    throw new Problem(`Grid does not answer: ${Problem.from(error).message}`, "UNREACHABLE");
  }
  if (answer.code !== undefined) throw new Problem(answer.detail ?? answer.code, answer.code);
  const [first] = answer.errors ?? [];
  if (first) throw Problem.of(first);
  if (!answer.data) throw new Problem("the answer is empty", "UNREACHABLE");
  return answer.data;
}

/** Lets the browser keep a file of REST, which needs the token that a link cannot carry. */
export async function download(path: string, name: string): Promise<void> {
  const response = await fetch(path, { headers: authorization() });
  if (!response.ok) {
    const problem = (await response.json()) as { detail?: string; code?: string };
    throw new Problem(problem.detail ?? response.statusText, problem.code ?? "UNKNOWN");
  }
  keep(await response.blob(), name);
}

export function keep(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
