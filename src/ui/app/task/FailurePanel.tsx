// Why an attempt failed: what it says itself, what lies behind it, and its last words.
import type { Failure } from "./query";

/** What the message says besides the exit code, which stands in the heading. */
const says = ({ message, exitCode }: Failure) => message !== `exit code ${exitCode}`;

export function FailurePanel({ failure }: { failure: Failure }) {
  return (
    <div className="panel failure" data-part="failure">
      <header>
        <h2 className="grow">
          {failure.reason}
          {failure.exitCode !== null && failure.exitCode !== undefined && `, exit code ${failure.exitCode}`}
        </h2>
        <span className="soft">{failure.retryable ? "retryable" : "not retryable"}</span>
      </header>
      <div className="body stack">
        {says(failure) && <p>{failure.message}</p>}
        {failure.causes.length > 0 && (
          <div>
            <h3 className="soft small">Because of</h3>
            <ol>
              {failure.causes.map((cause) => (
                <li key={cause}>{cause}</li>
              ))}
            </ol>
          </div>
        )}
        {failure.lastLogLines.length > 0 && (
          <div>
            <h3 className="soft small">Its last lines</h3>
            <pre>{failure.lastLogLines.join("\n")}</pre>
          </div>
        )}
      </div>
    </div>
  );
}
