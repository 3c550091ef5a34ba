// Whether what is shown is fresh: always in sight, and loud when it is not.
import { useFreshness } from "../data/freshness";
import { format } from "../design/format";
import { Notice } from "../design/Notice";

const clock = format({ timeStyle: "medium", hourCycle: "h23" });

export function Status() {
  const fresh = useFreshness();
  const [hue, sign, text] =
    fresh.kind === "live"
      ? ["green", "●", "Live"]
      : fresh.kind === "connecting"
        ? ["gray", "◌", "Connecting"]
        : fresh.kind === "polling"
          ? ["orange", "◌", "Every 5 s"]
          : ["red", "✕", "Stale"];
  return (
    <span className={`badge ${hue}`} role="status" data-fresh={fresh.kind}>
      <span aria-hidden="true">{sign}</span>
      {text}
    </span>
  );
}

/** Says it in the page itself. */
export function StaleNotice() {
  const fresh = useFreshness();
  if (fresh.kind === "stale") {
    return (
      <Notice kind="bad">
        Grid does not answer. What is shown is of {clock(fresh.since)}; it is asked again every 5 seconds.
      </Notice>
    );
  }
  if (fresh.kind === "polling") {
    return <Notice kind="warn">The live connection is lost, and tried again. Until then everything is asked for every 5 seconds.</Notice>;
  }
  return null;
}
