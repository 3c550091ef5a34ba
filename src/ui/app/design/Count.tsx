/** A number of a table; nothing is paler than something. */
export function Count({ value }: { value: number }) {
  return <td className="number">{value === 0 ? <span className="zero">0</span> : value.toLocaleString()}</td>;
}
