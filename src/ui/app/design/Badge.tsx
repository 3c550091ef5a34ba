// States in their colours, each with a sign and a word of its own: a colour alone says nothing to many people.

type Hue = "green" | "blue" | "red" | "orange" | "yellow" | "gray";

const LOOKS: Record<string, readonly [Hue, string]> = {
  COMPLETED: ["green", "✓"],
  RUNNING: ["blue", "▶"],
  FAILED: ["red", "✕"],
  TIMEOUT: ["orange", "◷"],
  MIXED: ["yellow", "◐"],
  EMPTY: ["gray", "○"],
  READY: ["gray", "○"],
  SCHEDULED: ["blue", "◌"],
  ACTIVE: ["green", "●"],
  INACTIVE: ["gray", "○"],
  SILENT: ["red", "✕"],
  LOST: ["red", "✕"],
  DRAINED: ["gray", "↓"],
  SUPERSEDED: ["gray", "↻"],
  PENDING: ["orange", "◌"],
  DRAINING: ["orange", "↓"],
  CORDONED: ["yellow", "‖"],
};

export function Badge({ state }: { state: string }) {
  const [hue, sign] = LOOKS[state] ?? ["gray", "•"];
  return (
    <span className={`badge ${hue}`} data-state={state}>
      <span aria-hidden="true">{sign}</span>
      {state}
    </span>
  );
}
