import { useAnswer } from "../data/useAnswer";
import { useMayAct } from "../data/you";
import { Trouble } from "../design/Notice";
import { Link } from "../route/Link";
import { JOB_DOCUMENT } from "./query";

/** What a program wrote in one line is easier read in many, where that changes nothing but the spaces. */
function readable(text: string): string {
  if (text.trim().includes("\n")) return text;
  try {
    const document: unknown = JSON.parse(text);
    const spaces = /\s/g;
    // Long numbers, and keys that come twice, would not be those that were submitted.
    const isSame = JSON.stringify(document).replace(spaces, "") === text.replace(spaces, "");
    return isSame ? JSON.stringify(document, null, 2) : text;
  } catch {
    return text;
  }
}

/** As it was submitted. */
export function JobDocument({ jobId }: { jobId: string }) {
  const shown = useAnswer(JOB_DOCUMENT, { id: jobId });
  const mayAct = useMayAct();
  const document = shown.data?.job?.document;
  return (
    <div className="panel">
      <header>
        <h2 className="grow">As it was submitted</h2>
        {mayAct && (
          <Link className="button" href={`/submit?from=${jobId}`}>
            Submit it changed
          </Link>
        )}
      </header>
      <div className="body">
        <Trouble problem={shown.problem} />
        <pre>{document && readable(document.text)}</pre>
      </div>
    </div>
  );
}
