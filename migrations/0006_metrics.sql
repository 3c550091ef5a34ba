-- Points of metrics, where no other store keeps them. Beside the log: they are no events, and go by age.
--
-- A series is a metric with its tags; its id is a hash of these, so that every process knows it without asking. A point
-- is kept raw for some days, and in rollups of five minutes for longer; both are written by one statement, so rollups
-- agree with the points at every moment. Partitions are days; points are dropped with their day, never one by one.
CREATE TABLE metric_series (
    id          bigint PRIMARY KEY,
    metric      text NOT NULL,
    tags        jsonb NOT NULL,
    -- Days since 1970 on which it has points.
    first_day   integer NOT NULL,
    last_day    integer NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX metric_series_by_tags ON metric_series USING gin (tags jsonb_path_ops);
CREATE INDEX metric_series_by_metric ON metric_series (metric, last_day);

CREATE TABLE metric_points (
    series  bigint NOT NULL,
    -- In milliseconds since 1970.
    at      bigint NOT NULL,
    value   double precision NOT NULL,
    PRIMARY KEY (series, at)
) PARTITION BY RANGE (at);

CREATE TABLE metric_rollups (
    series    bigint NOT NULL,
    -- When the five minutes begin, in milliseconds since 1970.
    at        bigint NOT NULL,
    points    bigint NOT NULL,
    total     double precision NOT NULL,
    least     double precision NOT NULL,
    greatest  double precision NOT NULL,
    last_at   bigint NOT NULL,
    last      double precision NOT NULL,
    PRIMARY KEY (series, at)
) PARTITION BY RANGE (at);

-- Makes the partitions of these days since 1970 that are missing; returns how many.
CREATE FUNCTION grid_make_metric_days(first_day integer, last_day integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    made  integer := 0;
    part  text;
BEGIN
    IF last_day - first_day > 200 THEN
        RAISE EXCEPTION 'too many days at a time: % to %', first_day, last_day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('grid_metric_days'));
    FOR day IN first_day..last_day LOOP
        part := format('metric_points_%s', day);
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF metric_points FOR VALUES FROM (%s) TO (%s)',
                part, day * 86400000::bigint, (day + 1) * 86400000::bigint);
            made := made + 1;
        END IF;
        part := format('metric_rollups_%s', day);
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF metric_rollups FOR VALUES FROM (%s) TO (%s) WITH (fillfactor = 70)',
                part, day * 86400000::bigint, (day + 1) * 86400000::bigint);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- Drops points of days before the first, and rollups and series of days before the second; returns how many partitions.
CREATE FUNCTION grid_drop_metric_days(points_before integer, rollups_before integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    dropped  integer := 0;
    part     record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('grid_metric_days'));
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE substring(c.relname FROM '[0-9]+$')::integer < CASE i.inhparent
            WHEN 'metric_points'::regclass THEN points_before
            WHEN 'metric_rollups'::regclass THEN rollups_before
        END
    LOOP
        EXECUTE format('DROP TABLE %I', part.relname);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM metric_series WHERE last_day < rollups_before;
    RETURN dropped;
END $$;

REVOKE EXECUTE ON FUNCTION grid_make_metric_days(integer, integer), grid_drop_metric_days(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grid_make_metric_days(integer, integer), grid_drop_metric_days(integer, integer) TO grid;
GRANT SELECT, INSERT, UPDATE ON metric_series, metric_rollups TO grid;
GRANT SELECT, INSERT ON metric_points TO grid;
