// Lines of a task, a job or a worker: they come while one looks, and are searched, kept and gone back in.
import "./logs.css";
import { useState } from "react";
import { download } from "../data/ask";
import { Problem } from "../data/problem";
import { Chips, useChosen } from "../design/Chips";
import { Notice } from "../design/Notice";
import { tell } from "../design/Toasts";
import { turn, usePlace } from "../route/route";
import { type Asked, parameters } from "./lines";
import { useLines } from "./useLines";
import { VirtualLines } from "./VirtualLines";

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"] as const;

/** A time as a field of the browser has it: local, without its zone. */
const local = (at: string) => new Date(Date.parse(at) - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

export function LogViewer({ of, nameTask = false }: { of: Asked; nameTask?: boolean }) {
  const { query } = usePlace();
  const levels = useChosen("level", LEVELS);
  const wanted = query.get("q") ?? "";
  const to = query.get("to");
  const asked: Asked = { ...of, ...(levels.length > 0 && { levels }), ...(wanted && { query: wanted }) };
  const [follows, setFollows] = useState(true);
  const all = useLines(asked, to);
  // Paused, what comes waits out of sight.
  const [held, setHeld] = useState<number>();
  const paused = held !== undefined;
  const pause = () => setHeld(paused ? undefined : all.lines.length - all.prepended);
  const shown = paused ? all.lines.slice(0, held + all.prepended) : all.lines;
  const waiting = all.lines.length - shown.length;
  const save = () =>
    download(`/api/v1/logs/download?${parameters(asked)}&from=-30d`, "logs.ndjson").catch((error: unknown) =>
      tell("bad", `Download: ${Problem.from(error).message}`),
    );
  return (
    <div className="panel" data-part="logs">
      <header>
        <input
          key={wanted}
          type="search"
          className="grow"
          aria-label="Search lines"
          placeholder="Search in LogsQL: a word, or message:~&quot;time.*out&quot;"
          defaultValue={wanted}
          onKeyDown={(event) => event.key === "Enter" && turn({ q: event.currentTarget.value.trim() || null })}
        />
        <Chips name="level" label="Level" known={LEVELS} />
        <label>
          Up to
          <input
            key={to}
            type="datetime-local"
            step={1}
            defaultValue={to ? local(to) : ""}
            onBlur={(event) => {
              const { value } = event.currentTarget;
              const next = value ? new Date(value).toISOString() : null;
              if (next !== to && value !== (to ? local(to) : "")) turn({ to: next });
            }}
          />
        </label>
        {to ? (
          <button type="button" onClick={() => turn({ to: null })}>
            Back to now
          </button>
        ) : (
          <button type="button" aria-pressed={paused} onClick={pause}>
            {paused ? `Go on${waiting > 0 ? ` (${waiting.toLocaleString()} more)` : ""}` : "Pause"}
          </button>
        )}
        <button type="button" onClick={save}>
          Download
        </button>
      </header>
      {all.problem && <Notice kind="bad">{all.problem.message}</Notice>}
      <VirtualLines
        lines={shown}
        prepended={all.prepended}
        follows={follows && !paused}
        setFollows={setFollows}
        atTop={all.more}
        nameTask={nameTask}
      />
      <div className="pager">
        <span className="grow" role="status">
          {shown.length === 0 && !all.loading ? "No lines." : `${shown.length.toLocaleString()} lines`}
          {all.hasEarlier && ", and earlier ones"}
        </span>
        {all.hasEarlier && (
          <button type="button" disabled={all.loading} onClick={all.more}>
            Load earlier ones
          </button>
        )}
        {!follows && (
          <button type="button" onClick={() => setFollows(true)}>
            To the end
          </button>
        )}
      </div>
    </div>
  );
}
