// Which page of a list, and how many rows it has.
import { turn, usePlace, whole } from "../route/route";

const SIZES = [20, 50, 100, 200, 500];

export interface Page {
  /** From 0. */
  page: number;
  size: number;
}

/** Of the address, where pages begin with 1. */
export function usePage(size = 20): Page {
  const { query } = usePlace();
  return { page: whole(query, "page", 1, 1, 1e9) - 1, size: whole(query, "size", size, 1, 500) };
}

/** One reads another page from its beginning. */
function to(page: number): void {
  if (scrollY > 0) scrollTo(0, 0);
  turn({ page: page === 0 ? null : String(page + 1) });
}

export function Pager({ page, size, total, what }: Page & { total: number; what: string }) {
  const pages = Math.max(1, Math.ceil(total / size));
  const [first, last] = [Math.min(total, page * size + 1), Math.min(total, (page + 1) * size)];
  return (
    <nav className="pager" aria-label={`Pages of ${what}`}>
      <span className="grow">
        {total === 0 ? `No ${what}` : `${first.toLocaleString()}–${last.toLocaleString()} of ${total.toLocaleString()} ${what}`}
      </span>
      <label>
        Rows
        <select value={size} onChange={(event) => turn({ size: event.target.value, page: null })}>
          {[...new Set([...SIZES, size])].toSorted((a, b) => a - b).map((it) => (
            <option key={it}>{it}</option>
          ))}
        </select>
      </label>
      <button type="button" className="far" disabled={page === 0} onClick={() => to(0)} aria-label="First page">
        «
      </button>
      <button type="button" disabled={page === 0} onClick={() => to(page - 1)} aria-label="Previous page">
        ‹
      </button>
      <label>
        Page
        <input
          key={page}
          type="number"
          min={1}
          max={pages}
          defaultValue={page + 1}
          onKeyDown={(event) => {
            const wanted = Number(event.currentTarget.value);
            if (event.key === "Enter" && Number.isInteger(wanted) && wanted > 0) to(Math.min(wanted, pages) - 1);
          }}
        />
      </label>
      <span>of {pages.toLocaleString()}</span>
      <button type="button" disabled={page + 1 >= pages} onClick={() => to(page + 1)} aria-label="Next page">
        ›
      </button>
      <button type="button" className="far" disabled={page + 1 >= pages} onClick={() => to(pages - 1)} aria-label="Last page">
        »
      </button>
    </nav>
  );
}
