// What has happened: who wished or reported what, and when. Nobody can change it.
import { NumberHead, Table } from "../design/Table";
import { Time } from "../design/Time";
import { Link } from "../route/Link";

export interface Happened {
  position: string;
  type: string;
  at: string;
  principal: string;
  streamVersion: number;
  data: unknown;
}

interface Props {
  /** `undefined` while it is not known. */
  events: Happened[] | undefined;
  /** Where what was then is shown. */
  to?(at: string): string;
  /** The position of the last one before what is shown. */
  current?: string | undefined;
}

/** Characters of details that are shown without being asked for. */
const SHORT = 90;

function Details({ data }: { data: unknown }) {
  const text = JSON.stringify(data);
  if (text.length <= SHORT) return <code>{text}</code>;
  return (
    <details>
      <summary>
        <code>{text.slice(0, SHORT)}…</code>
      </summary>
      <pre>{JSON.stringify(data, null, 2)}</pre>
    </details>
  );
}

export function History({ events, to, current }: Props) {
  const row = (event: Happened) => (
    <tr key={event.position} aria-current={event.position === current ? "true" : undefined}>
      <td className="number">{event.streamVersion}</td>
      <td>
        {to ? (
          <Link href={to(event.at)} title="As it was then">
            <Time at={event.at} />
          </Link>
        ) : (
          <Time at={event.at} />
        )}
      </td>
      <td>
        <strong>{event.type}</strong>
      </td>
      <td>{event.principal}</td>
      <td className="wide">
        <Details data={event.data} />
      </td>
    </tr>
  );
  const columns = [<NumberHead key="#">#</NumberHead>, "When", "What", "By", "Details"];
  return <Table label="History" columns={columns} rows={events?.map(row)} empty="Nothing has happened yet." />;
}
