// What has happened: who wished or reported what, and when. Nobody can change it.
import { NumberHead, Table } from "../design/Table";
import { Time } from "../design/Time";

export interface Happened {
  position: string;
  type: string;
  at: string;
  principal: string;
  streamVersion: number;
  data: unknown;
}

/** `undefined` while it is not known. */
export function History({ events }: { events: Happened[] | undefined }) {
  const row = (event: Happened) => (
    <tr key={event.position}>
      <td className="number">{event.streamVersion}</td>
      <td>
        <Time at={event.at} />
      </td>
      <td>
        <strong>{event.type}</strong>
      </td>
      <td>{event.principal}</td>
      <td className="wide">
        <code>{JSON.stringify(event.data)}</code>
      </td>
    </tr>
  );
  const columns = [<NumberHead key="#">#</NumberHead>, "When", "What", "By", "Details"];
  return <Table label="History" columns={columns} rows={events?.map(row)} empty="Nothing has happened yet." />;
}
