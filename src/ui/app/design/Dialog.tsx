// A question that is answered before anything else.
import { type ReactNode, useLayoutEffect, useRef } from "react";

interface Props {
  title: string;
  close(): void;
  /** Stays near the upper edge, because what is in it grows and shrinks. */
  high?: boolean;
  children: ReactNode;
}

/** Escape closes it; the focus stays in it, and goes back to where it was. */
export function Dialog({ title, close, high = false, children }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => {
      if (!(before instanceof HTMLElement)) return;
      before.focus();
      // What was done may have left nothing more to do there: the keys go on in the view.
      requestAnimationFrame(() => {
        if (before.matches(":disabled") || !before.isConnected) document.getElementById("main")?.focus();
      });
    };
  }, []);
  return (
    <dialog ref={element} className={high ? "high" : undefined} onClose={close} aria-label={title}>
      <div className="inside">
        <h2>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}
