-- Cursors that were set anew because the bus had lost what they pointed at: what, when and by whom, for ever.
CREATE TABLE cursor_resets (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard        smallint NOT NULL,
    -- Of commands and reports the offsets, of events the place up to which they were published.
    topic        text NOT NULL CHECK (topic IN ('commands', 'reports', 'events')),
    bus          text NOT NULL,
    from_cursor  bigint NOT NULL,
    to_cursor    bigint NOT NULL,
    -- The epoch from which on the new cursor holds.
    epoch        bigint NOT NULL,
    reset_at     timestamptz NOT NULL DEFAULT now(),
    reset_by     text NOT NULL DEFAULT session_user
);

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON cursor_resets FOR EACH ROW EXECUTE FUNCTION grid_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON cursor_resets FOR EACH STATEMENT EXECUTE FUNCTION grid_refuse_change();

GRANT SELECT ON cursor_resets TO grid;
