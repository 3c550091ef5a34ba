-- Days are closed before they may go: somebody asks for it here, every shard answers in its row (closed_before), or says
-- below which of its jobs stand in the way.
ALTER TABLE log_meta ADD COLUMN close_before integer NOT NULL DEFAULT 0;

-- Jobs of the days to be closed that are not at rest, by shard. Only the last answer counts.
CREATE TABLE closing_holders (
    shard         smallint PRIMARY KEY,
    close_before  integer NOT NULL,
    -- The first of them.
    jobs          uuid[] NOT NULL,
    jobs_total    bigint NOT NULL,
    told_at       timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON closing_holders TO grid;

-- Whoever owns shards hears of it at once, also when it is asked again.
CREATE FUNCTION grid_tell_closing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('grid_closing', NEW.close_before::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_closing AFTER UPDATE OF close_before ON log_meta FOR EACH ROW EXECUTE FUNCTION grid_tell_closing();

-- As in 0001, and: the bus inside a process has no readers of events, so there nothing is to be published; the read models
-- must know all of the day; and what may take long comes before the lock on the table of events.
CREATE OR REPLACE FUNCTION grid_retire_day(day integer) RETURNS bigint LANGUAGE plpgsql
SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'events_' || to_char(date '1970-01-01' + day, 'YYYYMMDD');
    open_shard record;
    counted bigint;
BEGIN
    SELECT shard, closed_before INTO open_shard FROM shards WHERE closed_before <= day ORDER BY shard LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'day % is not closed: shard % has closed the days before %', day, open_shard.shard,
            open_shard.closed_before USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM FROM snapshots WHERE NOT at_rest AND job >= grid_first_id(day) AND job < grid_first_id(day + 1);
    IF FOUND THEN
        RAISE EXCEPTION 'day % holds an unfinished job', day USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM FROM events e JOIN shards s USING (shard)
        WHERE e.day = grid_retire_day.day
            AND e.seq > CASE WHEN s.bus LIKE 'local-%' THEN s.snapshot_seq ELSE least(s.published_seq, s.snapshot_seq) END;
    IF FOUND THEN
        RAISE EXCEPTION 'day % holds events that are not yet published or in a snapshot', day
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM FROM events e JOIN grid_read.projection_cursors c USING (shard)
        WHERE e.day = grid_retire_day.day AND e.seq > c.seq;
    IF FOUND THEN
        RAISE EXCEPTION 'day % holds events that are not yet in the read models', day
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', partition) INTO counted;
    DELETE FROM snapshots WHERE job >= grid_first_id(day) AND job < grid_first_id(day + 1);
    INSERT INTO retired_days (day, events) VALUES (day, counted);
    EXECUTE format('DROP TABLE %I', partition);
    RETURN counted;
END $$;
REVOKE ALL ON FUNCTION grid_retire_day(integer) FROM PUBLIC;

-- A document goes with the last job that was submitted with it.
CREATE INDEX submissions_by_hash ON submissions (hash);
