// Lines of everything: there is no index on words, so one worker, job or task is named, or a short time is looked at.
import { useEffect, useState } from "react";
import { turn, usePlace } from "../route/route";
import type { Asked } from "./lines";
import { LogViewer } from "./LogViewer";

/** By the beginning of an id, whose it is. */
function named(id: string): Asked {
  if (id.startsWith("task-")) return { taskIds: [id] };
  if (id.startsWith("worker-")) return { workerIds: [id] };
  return id ? { jobIds: [id] } : {};
}

export function LogsPage() {
  const of = usePlace().query.get("of") ?? "";
  const [text, setText] = useState(of);
  useEffect(() => setText(of), [of]);
  return (
    <div className="stack">
      <div className="row">
        <h1 className="grow">Logs</h1>
        <label>
          Of
          <input
            size={46}
            placeholder="job-…, task-… or worker-…"
            value={text}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => event.key === "Enter" && turn({ of: text.trim() || null })}
          />
        </label>
      </div>
      <LogViewer key={of} of={named(of)} nameTask />
    </div>
  );
}
