/** Why something failed, on one line; nothing when it has not. */
export function Why({ failure }: { failure: { reason: string; message: string } | null | undefined }) {
  if (!failure) return null;
  return (
    <span className="clip" title={failure.message}>
      <strong>{failure.reason}</strong> {failure.message}
    </span>
  );
}
