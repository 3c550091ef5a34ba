import { useAnswer } from "../data/useAnswer";
import { Trouble } from "../design/Notice";
import { Link } from "../route/Link";
import { JOB_DOCUMENT } from "./query";

/** As it was submitted. */
export function JobDocument({ jobId }: { jobId: string }) {
  const shown = useAnswer(JOB_DOCUMENT, { id: jobId });
  const document = shown.data?.job?.document;
  return (
    <div className="panel">
      <header>
        <h2 className="grow">As it was submitted</h2>
        <Link className="button" href={`/submit?from=${jobId}`}>
          Submit it changed
        </Link>
      </header>
      <div className="body">
        <Trouble problem={shown.problem} />
        <pre>{document?.text}</pre>
      </div>
    </div>
  );
}
