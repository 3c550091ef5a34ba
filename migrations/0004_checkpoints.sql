-- Checkpoints of attempts: a text that an attempt keeps so that a later one can go on from there. Beside the log, not in
-- it: only the newest of each attempt counts, and all of them go with their job.
CREATE TABLE checkpoints (
    job       uuid NOT NULL,
    task      integer NOT NULL,
    attempt   integer NOT NULL,
    -- The attempt's own time of it, in milliseconds since 1970.
    ts        bigint NOT NULL,
    -- UTF-8; not text, which could not hold every string of JSON.
    data      bytea NOT NULL CHECK (length(data) <= 65536),
    saved_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, task, attempt)
) WITH (fillfactor = 70);

-- Keys that all processes of the API share, made here once. From `checkpoints` follow the secrets in the URLs of attempts.
CREATE TABLE server_keys (
    name     text PRIMARY KEY,
    key      bytea NOT NULL CHECK (length(key) >= 32),
    made_at  timestamptz NOT NULL DEFAULT now()
);
-- Random uuids come from the operating system's source of strong randomness; two of them have 244 random bits.
INSERT INTO server_keys (name, key)
VALUES ('checkpoints', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- A day that is retired takes the checkpoints of its jobs along, whoever retires it.
CREATE FUNCTION grid_drop_checkpoints() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM checkpoints WHERE job >= grid_first_id(NEW.day) AND job < grid_first_id(NEW.day + 1);
    RETURN NULL;
END $$;
CREATE TRIGGER drop_checkpoints AFTER INSERT ON retired_days FOR EACH ROW EXECUTE FUNCTION grid_drop_checkpoints();

GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoints TO grid;
GRANT SELECT ON server_keys TO grid;
