// A document is written, checked by the server while it is, and submitted.
import { useEffect, useRef, useState } from "react";
import { ask } from "../data/ask";
import { Problem } from "../data/problem";
import { useStore } from "../data/store";
import { role, useMayAct } from "../data/you";
import { Notice } from "../design/Notice";
import { tell } from "../design/Toasts";
import { graphql } from "../gen";
import { JOB_DOCUMENT } from "../job/query";
import { go, usePlace } from "../route/route";
import { Editor } from "./Editor";
import { EXAMPLES, FIRST } from "./examples";

const SUBMIT = graphql(`
  mutation Submit($document: String!, $dryRun: Boolean!, $key: String) {
    submitJob(document: $document, dryRun: $dryRun, idempotencyKey: $key) { taskCount job { jobId } }
  }
`);

/** Milliseconds after the last key before the server looks at it. */
const QUIET = 350;

interface Verdict {
  text: string;
  tasks: number | undefined;
  problem: Problem | undefined;
}

/** What the server says of a text; of an earlier one while it has not said it. */
function useVerdict(text: string): Verdict | undefined {
  const [verdict, setVerdict] = useState<Verdict>();
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      ask(SUBMIT, { document: text, dryRun: true }, stop.signal).then(
        ({ submitJob }) => setVerdict({ text, tasks: submitJob.taskCount ?? 0, problem: undefined }),
        (error: unknown) => {
          if (!stop.signal.aborted) setVerdict({ text, tasks: undefined, problem: Problem.from(error) });
        },
      );
    }, QUIET);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return verdict;
}

export function SubmitPage() {
  const isKnown = useStore(role) !== undefined;
  if (useMayAct()) return <Form />;
  return (
    <div className="stack">
      <h1>Submit a job</h1>
      {isKnown && <Notice kind="warn">Submitting a job needs the role operator.</Notice>}
    </div>
  );
}

function Form() {
  const from = usePlace().query.get("from");
  const [text, setText] = useState(FIRST);
  const verdict = useVerdict(text);
  const [running, setRunning] = useState(false);
  // One key a text: a second click, or a second try after no answer, makes no second job.
  const key = useRef({ text: "", key: "" });
  useEffect(() => {
    if (!from) return;
    ask(JOB_DOCUMENT, { id: from }).then(
      ({ job }) => job && setText(job.document.text),
      (error: unknown) => tell("bad", Problem.from(error).message),
    );
  }, [from]);
  const submit = async () => {
    setRunning(true);
    if (key.current.text !== text) key.current = { text, key: crypto.randomUUID() };
    try {
      const { submitJob } = await ask(SUBMIT, { document: text, dryRun: false, key: key.current.key });
      if (submitJob.job) go(`/jobs/${submitJob.job.jobId}`);
    } catch (error) {
      tell("bad", Problem.from(error).message);
      setRunning(false);
    }
  };
  const mistakes = verdict?.problem?.mistakes ?? [];
  const isGood = verdict?.text === text && verdict.problem === undefined;
  const tasks = verdict?.tasks === 1 ? "1 task" : `${verdict?.tasks?.toLocaleString() ?? "…"} tasks`;
  return (
    <div className="stack">
      <div className="row">
        <h1 className="grow">Submit a job</h1>
        <label>
          Example
          <select value="" onChange={(event) => setText(EXAMPLES[event.target.value] ?? text)}>
            <option value="">…</option>
            {Object.keys(EXAMPLES).map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <button type="button" className="primary" disabled={!isGood || running} onClick={submit}>
          {isGood ? `Submit ${tasks}` : "Submit"}
        </button>
      </div>
      {from && <p className="soft">From {from}: what is submitted is a new job.</p>}
      <div className="panel">
        <Editor text={text} change={setText} mistakes={mistakes} />
      </div>
      <div id="mistakes" aria-live="polite">
        {isGood && <Notice kind="good">It is good: {tasks}.</Notice>}
        {verdict?.problem && (
          <Notice kind="bad">
            {mistakes.length === 0 && verdict.problem.message}
            <ul className="mistakes">
              {mistakes.map((it) => (
                <li key={`${it.pointer} ${it.line} ${it.message}`}>
                  {it.line !== undefined && <strong>Line {it.line}: </strong>}
                  {it.message}
                </li>
              ))}
            </ul>
          </Notice>
        )}
      </div>
    </div>
  );
}
