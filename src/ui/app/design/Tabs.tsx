// Parts of a view that are shown one at a time; which, stands in the address.
import { Link } from "../route/Link";
import { usePlace } from "../route/route";

/** The first is shown when the address says nothing. */
export function Tabs({ tabs, chosen }: { tabs: Record<string, string>; chosen: string }) {
  const { path } = usePlace();
  return (
    <nav className="tabs" aria-label="Parts">
      {Object.entries(tabs).map(([name, title], index) => (
        <Link key={name} href={index === 0 ? path : `${path}?tab=${name}`} aria-current={name === chosen ? "page" : undefined}>
          {title}
        </Link>
      ))}
    </nav>
  );
}
