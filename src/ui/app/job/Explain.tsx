// The sentence of the server that says why something is not further.
import { Notice } from "../design/Notice";

const BAD = /^(NO_|WORKERS_|SHARD_|HEARTBEATS_|WORKER_SILENT)/;

export function Explain({ explain }: { explain: unknown }) {
  const { reason, sentence } = (explain ?? {}) as { reason?: string; sentence?: string };
  if (!sentence) return null;
  return (
    <Notice kind={BAD.test(reason ?? "") ? "warn" : "plain"}>
      <span data-reason={reason}>{sentence}</span>
    </Notice>
  );
}
