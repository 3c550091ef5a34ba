-- Lines that tasks write, where no other store keeps them. Beside the log: they are no events, and go by age and size.
--
-- Partitions are hours; lines are dropped with their hour, never one by one. Columns are what searches name; all else
-- of a line is in `fields`. Texts are empty where a line has none.
CREATE TABLE log_lines (
    -- When the worker read the line, in milliseconds since 1970.
    at           bigint NOT NULL,
    -- Rises in the order of the commits, so that who follows misses nothing.
    id           bigint NOT NULL,
    job_id       text NOT NULL,
    task_id      text NOT NULL,
    worker_id    text NOT NULL,
    attempt      text NOT NULL,
    level        text NOT NULL,
    logger_name  text NOT NULL,
    source       text NOT NULL,
    service      text NOT NULL,
    stream       text NOT NULL,
    message      text NOT NULL,
    fields       jsonb NOT NULL
) PARTITION BY RANGE (at);

CREATE INDEX log_lines_by_time ON log_lines (at, id);
CREATE INDEX log_lines_by_job ON log_lines (job_id, at, id);
CREATE INDEX log_lines_by_task ON log_lines (task_id, at, id);
-- Ids rise with the place in the table: following costs nothing to those who write.
CREATE INDEX log_lines_by_id ON log_lines USING brin (id) WITH (pages_per_range = 16, autosummarize = on);

-- The last id. Whoever adds lines holds this row until they are committed.
CREATE TABLE log_lines_head (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    last_id   bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO log_lines_head (last_id) VALUES (0);

-- The last batch of each worker process, so that one sent again is not added again.
CREATE TABLE log_lines_sources (
    incarnation  uuid PRIMARY KEY,
    last_batch   bigint NOT NULL,
    taken_at     timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Makes the partitions of these hours since 1970 that are missing; returns how many.
CREATE FUNCTION grid_make_log_hours(first_hour bigint, last_hour bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    made  integer := 0;
    part  text;
BEGIN
    IF last_hour - first_hour > 1000 THEN
        RAISE EXCEPTION 'too many hours at a time: % to %', first_hour, last_hour;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('grid_log_hours'));
    FOR hour IN first_hour..last_hour LOOP
        part := format('log_lines_%s', hour);
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF log_lines FOR VALUES FROM (%s) TO (%s)',
                part, hour::bigint * 3600000, (hour::bigint + 1) * 3600000);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- Drops hours that end before that time, and then the oldest until the rest has no more bytes; the newest hour stays.
-- Returns how many it dropped.
CREATE FUNCTION grid_drop_log_hours(before_ms bigint, most_bytes bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    dropped  integer := 0;
    kept     bigint := 0;
    newest   boolean := true;
    part     record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('grid_log_hours'));
    FOR part IN
        SELECT c.oid, c.relname, substr(c.relname, length('log_lines_') + 1)::bigint AS hour
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'log_lines'::regclass
        ORDER BY hour DESC
    LOOP
        kept := kept + pg_total_relation_size(part.oid);
        IF NOT newest AND (kept > most_bytes OR (part.hour + 1) * 3600000 <= before_ms) THEN
            EXECUTE format('DROP TABLE %I', part.relname);
            dropped := dropped + 1;
        END IF;
        -- Hours made ahead are empty.
        newest := newest AND pg_relation_size(part.oid) = 0;
    END LOOP;
    DELETE FROM log_lines_sources WHERE taken_at < now() - interval '7 days';
    RETURN dropped;
END $$;

REVOKE EXECUTE ON FUNCTION grid_make_log_hours(bigint, bigint), grid_drop_log_hours(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grid_make_log_hours(bigint, bigint), grid_drop_log_hours(bigint, bigint) TO grid;
GRANT SELECT, INSERT ON log_lines TO grid;
GRANT SELECT, UPDATE ON log_lines_head TO grid;
GRANT SELECT, INSERT, UPDATE ON log_lines_sources TO grid;
