// A bar of parts of a whole.

export interface Part {
  hue: "green" | "blue" | "red" | "orange" | "yellow" | "gray";
  value: number;
}

/** `label` says the same in words. */
export function Bar({ parts, whole, label }: { parts: Part[]; whole: number; label: string }) {
  const width = (value: number) => `${whole > 0 ? Math.min(100, (100 * value) / whole) : 0}%`;
  return (
    <div className="bar" role="img" aria-label={label} title={label}>
      {parts.map(({ hue, value }) => value > 0 && <i key={hue} className={`fill-${hue}`} style={{ width: width(value) }} />)}
    </div>
  );
}
