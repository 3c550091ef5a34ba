// Parts of a filter that are switched on and off; they stand in the address.
import { turn, usePlace } from "../route/route";

/** The values of a parameter that are known. */
export function useChosen<T extends string>(name: string, known: readonly T[]): T[] {
  const given = usePlace().query.getAll(name);
  return known.filter((it) => given.includes(it));
}

export function Chips<T extends string>({ name, label, known }: { name: string; label: string; known: readonly T[] }) {
  const chosen = useChosen(name, known);
  const toggle = (it: T) => {
    const next = chosen.includes(it) ? chosen.filter((other) => other !== it) : [...chosen, it];
    turn({ [name]: next, page: null });
  };
  return (
    <div className="chips" role="group" aria-label={label}>
      {known.map((it) => (
        <button key={it} type="button" aria-pressed={chosen.includes(it)} onClick={() => toggle(it)}>
          {it.charAt(0) + it.slice(1).toLowerCase()}
        </button>
      ))}
    </div>
  );
}
