// The sentence of the server that says why something is not further.
import type { ReactNode } from "react";
import { Notice } from "../design/Notice";
import { Time } from "../design/Time";
import { Link } from "../route/Link";

const BAD = /^(NO_|WORKERS_|SHARD_|HEARTBEATS_|WORKER_SILENT)/;
/** Times and tasks in a sentence. */
const TOLD = /([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|task-[0-9a-f]{8}-[0-9a-f-]{27}-[0-9]+)/;

/** Times as people have them here, and ways to the tasks that are named. */
function told(sentence: string): ReactNode[] {
  return sentence.split(TOLD).map((part, index) => {
    // What was found stands between what was not.
    if (index % 2 === 0) return part;
    const key = `${index} ${part}`;
    // A message that is told may hold what only looks like a time.
    if (!part.startsWith("task-")) return Number.isNaN(Date.parse(part)) ? part : <Time key={key} at={part} />;
    return (
      <Link key={key} href={`/tasks/${part}`} title={part}>
        task {part.slice(part.lastIndexOf("-") + 1)}
      </Link>
    );
  });
}

export function Explain({ explain }: { explain: unknown }) {
  const { reason, sentence } = (explain ?? {}) as { reason?: string; sentence?: string };
  if (!sentence) return null;
  return (
    <Notice kind={BAD.test(reason ?? "") ? "warn" : "plain"}>
      <span data-reason={reason}>{told(sentence)}</span>
    </Notice>
  );
}
