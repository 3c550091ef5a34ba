// A long list of lines of which only those in sight exist.
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { utc } from "../design/Time";
import { format } from "../design/format";
import type { Line } from "./lines";

/** Pixels of a line; `.lines` in logs.css says the same. */
const HEIGHT = 20;
/** Lines beyond the edges, so that a quick turn of the wheel shows no gap. */
const BEYOND = 10;

const clock = format({
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});

interface Props {
  lines: Line[];
  prepended: number;
  /** Stays at the end while lines come. */
  follows: boolean;
  setFollows(follows: boolean): void;
  /** The first line is in sight. */
  atTop(): void;
  nameTask: boolean;
}

export function VirtualLines({ lines, prepended, follows, setFollows, atTop, nameTask }: Props) {
  const box = useRef<HTMLElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const look = () => {
    const it = box.current;
    if (it) setView({ top: it.scrollTop, height: it.clientHeight });
  };

  // What is in sight stays where it is when lines are put before it.
  const before = useRef(prepended);
  useLayoutEffect(() => {
    if (box.current && prepended > before.current) box.current.scrollTop += (prepended - before.current) * HEIGHT;
    before.current = prepended;
    if (box.current && follows) box.current.scrollTop = lines.length * HEIGHT;
    look();
  }, [lines, prepended, follows]);
  useEffect(() => {
    const watching = new ResizeObserver(look);
    if (box.current) watching.observe(box.current);
    return () => watching.disconnect();
  }, []);

  const scroll = () => {
    const it = box.current;
    if (!it) return;
    look();
    const isAtEnd = it.scrollTop + it.clientHeight >= it.scrollHeight - HEIGHT;
    if (isAtEnd !== follows) setFollows(isAtEnd);
    if (it.scrollTop < HEIGHT * 5) atTop();
  };

  const first = Math.max(0, Math.floor(view.top / HEIGHT) - BEYOND);
  const last = Math.min(lines.length, Math.ceil((view.top + view.height) / HEIGHT) + BEYOND);
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <section ref={box} className="lines" tabIndex={0} aria-label="Lines" data-count={lines.length} onScroll={scroll}>
      <div style={{ height: lines.length * HEIGHT }}>
        <ol start={first + 1} style={{ transform: `translateY(${first * HEIGHT}px)` }}>
          {lines.slice(first, last).map((line, index) => (
            // The elements stay where they are, and show other lines: quicker than new ones.
            // oxlint-disable-next-line react/no-array-index-key
            <li key={index} className={`line ${line.level.toLowerCase()}`}>
              <time dateTime={line.at} title={utc(line.at)}>
                {clock(new Date(line.at))}
              </time>
              <b>{line.level}</b>
              {nameTask && <span className="soft">{line.taskId.split("-").at(-1)}</span>}
              <span>{line.message}</span>
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}
