-- Keys under which clients send a call, so that one sent again has its effect once. A key is reserved before its command
-- is sent, with the ids that make a repeat of the command known to its shard; kept for a day, then swept away.
CREATE TABLE idempotency_keys (
    principal       text NOT NULL,
    key             text NOT NULL,
    -- SHA-256 of what was asked for: the same key with anything else is a mistake.
    call            bytea NOT NULL CHECK (length(call) = 32),
    job             uuid NOT NULL,
    command         uuid NOT NULL,
    -- Until then the command may still be decided (milliseconds since 1970); afterwards the log tells whether it was.
    not_after       bigint NOT NULL,
    -- Where the answer stands, once it is known.
    answered_shard  smallint,
    answered_seq    bigint,
    reserved_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
) WITH (fillfactor = 70);
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (reserved_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO grid;
