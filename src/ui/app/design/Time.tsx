// Times as people have them where they are; in UTC on hover.
import { useEffect, useState } from "react";
import { format } from "./format";

const CLOCK = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" } as const;
const ofToday = format({ timeStyle: "medium", hourCycle: "h23" });
const ofYear = format(CLOCK);
const ofOtherYear = format({ ...CLOCK, year: "numeric" });

/** Without the day when it is today, else without the year when it is the present one. */
function local(at: string): string {
  const [date, now] = [new Date(at), new Date()];
  if (date.toDateString() === now.toDateString()) return ofToday(date);
  return date.getFullYear() === now.getFullYear() ? ofYear(date) : ofOtherYear(date);
}

export const utc = (at: string): string => `${new Date(at).toISOString().replace("T", " ").replace("Z", "")} UTC`;

export function Time({ at }: { at: string | null | undefined }) {
  if (!at) return <span className="soft">–</span>;
  return (
    <time dateTime={at} title={utc(at)}>
      {local(at)}
    </time>
  );
}

/** The present time, told anew each second. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** How long ago, or in how long. */
export function Ago({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (!at) return <span className="soft">never</span>;
  const left = Date.parse(at) - now;
  return (
    <time dateTime={at} title={`${ofOtherYear(new Date(at))} (${utc(at)})`}>
      {left > 500 ? `in ${span(left)}` : `${span(Math.max(0, -left))} ago`}
    </time>
  );
}

/** A time span in words: the two largest units. */
export function span(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.floor(milliseconds / 1_000);
  if (seconds < 60) return seconds < 10 ? `${(milliseconds / 1_000).toFixed(1)} s` : `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
