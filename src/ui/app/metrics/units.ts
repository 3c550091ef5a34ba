// Numbers with their units, short enough for an axis.

const plain = (value: number): string => {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return Math.round(value).toLocaleString();
  return Number(value.toPrecision(size >= 10 ? 3 : 2)).toLocaleString(undefined, { maximumFractionDigits: 4 });
};

/** By the power of `base` that fits. */
function scaled(value: number, base: number, names: readonly string[]): string {
  let [left, name] = [value, 0];
  while (Math.abs(left) >= base && name + 1 < names.length) {
    left /= base;
    name += 1;
  }
  return `${plain(left)}${names[name] ?? ""}`;
}

export type Unit = "count" | "rate" | "bytes" | "byteRate" | "cores" | "share";

export function show(value: number, unit: Unit): string {
  switch (unit) {
    case "bytes":
      return scaled(value, 1_024, [" B", " KiB", " MiB", " GiB", " TiB"]);
    case "byteRate":
      return scaled(value, 1_024, [" B/s", " KiB/s", " MiB/s", " GiB/s"]);
    case "share":
      return `${plain(100 * value)} %`;
    case "rate":
      return `${value < 10_000 ? plain(value) : scaled(value, 1_000, ["", "k", "M", "G"])}/s`;
    default:
      return value < 100_000 ? plain(value) : scaled(value, 1_000, ["", "k", "M", "G"]);
  }
}
