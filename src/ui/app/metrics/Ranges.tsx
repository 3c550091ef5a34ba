import { turn } from "../route/route";
import { type Chosen, RANGES } from "./ranges";

/** Buttons for the time that is shown; `run` when what is shown has a beginning. */
export function Ranges({ chosen, run }: { chosen: Chosen; run: boolean }) {
  const names = [...(run ? ["run"] : []), ...Object.keys(RANGES)];
  const otherwise = run ? "run" : "1h";
  const choose = (name: string) => turn({ range: name === otherwise ? null : name, from: null, to: null });
  return (
    <div className="chips" role="group" aria-label="Time shown">
      {names.map((name) => (
        <button key={name} type="button" aria-pressed={chosen.name === name} onClick={() => choose(name)}>
          {name === "run" ? "Whole run" : name}
        </button>
      ))}
      {chosen.name === "part" && (
        <button type="button" aria-pressed="true" onClick={() => choose(otherwise)}>
          Part <span aria-hidden="true">✕</span>
          <span className="unseen">: show all again</span>
        </button>
      )}
    </div>
  );
}
