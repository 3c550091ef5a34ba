// Finds jobs, tasks and workers by the beginning of an id, a name or a label, from anywhere: Ctrl-K.
import "./search.css";
import { useEffect, useId, useState } from "react";
import { useAnswer } from "../data/useAnswer";
import { Dialog } from "../design/Dialog";
import { Icon } from "../design/Icon";
import { graphql } from "../gen";
import type { SearchQuery } from "../gen/graphql";
import { go } from "../route/route";
import { type Entry, useNavigation } from "../shell/views";

const SEARCH = graphql(`
  query Search($q: String!) {
    search(q: $q, first: 8) { kind id jobId field value }
  }
`);

interface Choice {
  href: string;
  kind: string;
  name: string;
  value: string;
}

const PLACES: Record<string, string> = { JOB: "/jobs/", TASK: "/tasks/", WORKER: "/workers/" };

function choices(hits: SearchQuery["search"], views: readonly Entry[]): Choice[] {
  return [
    ...hits.map(({ kind, id, value, field }) => ({
      href: `${PLACES[kind] ?? "/jobs/"}${id}`,
      kind,
      name: field === "id" ? id : value,
      value: field === "id" ? "" : id,
    })),
    ...views.map(({ href, name }) => ({ href, kind: "VIEW", name, value: "" })),
  ];
}

function Palette({ close }: { close: () => void }) {
  const [q, setQ] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const wanted = q.trim();
  // Asked again, because what was submitted a moment ago may not be found yet.
  const shown = useAnswer(SEARCH, wanted ? { q: wanted } : null, "always");
  const views = useNavigation().filter(({ name }) => name.toLowerCase().startsWith(wanted.toLowerCase()));
  const found = choices(wanted ? (shown.data?.search ?? []) : [], views);
  const chosen = Math.min(at, found.length - 1);
  const pick = (choice: Choice | undefined) => {
    if (!choice) return;
    close();
    go(choice.href);
  };
  return (
    <Dialog title="Search" close={close} high>
      <input
        role="combobox"
        aria-label="Jobs, tasks, workers"
        aria-expanded={found.length > 0}
        aria-controls={list}
        aria-activedescendant={found.length > 0 ? `${list}-${chosen}` : undefined}
        placeholder="The beginning of an id, an external id or a label"
        value={q}
        onChange={(event) => {
          setQ(event.target.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (step) {
            event.preventDefault();
            setAt((chosen + step + found.length) % Math.max(1, found.length));
          }
          if (event.key === "Enter") pick(found[chosen]);
        }}
      />
      <div id={list} className="found" role="listbox" aria-label="Found">
        {found.map((choice, index) => (
          // The keys are those of the field above.
          // oxlint-disable-next-line jsx-a11y/click-events-have-key-events
          <div
            key={`${choice.href} ${choice.name}`}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === chosen}
            tabIndex={-1}
            onClick={() => pick(choice)}
          >
            <span className="soft small">{choice.kind.toLowerCase()}</span>
            <strong>{choice.name}</strong>
            <span className="soft mono">{choice.value}</span>
          </div>
        ))}
      </div>
      <p className="soft small" role="status">
        {wanted && found.length === 0 && !shown.loading ? "Nothing begins so." : "↑ ↓ to choose, Enter to go, Escape to leave. In lists: ↑ ↓ or j k from row to row, x to choose one."}
      </p>
    </Dialog>
  );
}

export function Search() {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      setOpen(true);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  return (
    <>
      <button type="button" className="search-open" onClick={() => setOpen(true)}>
        <Icon name="search" />
        <span className="grow">Search</span>
        <kbd>Ctrl K</kbd>
      </button>
      {open && <Palette close={() => setOpen(false)} />}
    </>
  );
}
