// What came of an action, told at the edge of the page for a while.
import { store, useStore } from "../data/store";
import { Notice } from "./Notice";

interface Toast {
  id: number;
  kind: "good" | "bad";
  text: string;
}

const toasts = store<Toast[]>([]);
let last = 0;
/** Milliseconds: what went wrong stays longer. */
const SHOWN = { good: 6_000, bad: 15_000 };

export function tell(kind: Toast["kind"], text: string): void {
  last += 1;
  const id = last;
  toasts.set([...toasts.get().slice(-3), { id, kind, text }]);
  setTimeout(() => toasts.set(toasts.get().filter((it) => it.id !== id)), SHOWN[kind]);
}

export function Toasts() {
  return (
    <div className="toasts" aria-live="polite">
      {useStore(toasts).map(({ id, kind, text }) => (
        <Notice key={id} kind={kind}>
          {text}
        </Notice>
      ))}
    </div>
  );
}
