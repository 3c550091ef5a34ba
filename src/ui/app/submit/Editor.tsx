// A document with the numbers of its lines, and a mark at those that are wrong.
import "./submit.css";
import { useRef } from "react";
import type { Mistake } from "../data/problem";

interface Props {
  text: string;
  change(text: string): void;
  mistakes: Mistake[];
}

export function Editor({ text, change, mistakes }: Props) {
  const numbers = useRef<HTMLOListElement>(null);
  const wrong = new Map(mistakes.map((it) => [it.line ?? 1, it.message]));
  return (
    <div className="editor">
      <ol ref={numbers} aria-hidden="true">
        {text.split("\n").map((_, index) => (
          // Lines have no other name than their number.
          // oxlint-disable-next-line react/no-array-index-key
          <li key={index} className={wrong.has(index + 1) ? "wrong" : undefined} title={wrong.get(index + 1)}>
            {index + 1}
          </li>
        ))}
      </ol>
      <textarea
        aria-label="Job document"
        aria-invalid={mistakes.length > 0}
        aria-describedby="mistakes"
        spellCheck={false}
        wrap="off"
        value={text}
        onChange={(event) => change(event.target.value)}
        onScroll={(event) => {
          if (numbers.current) numbers.current.scrollTop = event.currentTarget.scrollTop;
        }}
      />
    </div>
  );
}
