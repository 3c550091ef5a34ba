-- The log: events, the hash chain over them, the shards that fence their writers, and what makes loading quick.
--
-- Two roles. The owner (whoever runs this) may change the tables. The service role `grid` adds events and batches and
-- reads them; it may not change, remove or restructure them, and triggers refuse that besides, even to the owner.

CREATE TABLE log_meta (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Changes at a restore from a backup: positions of one timeline mean nothing on another.
    timeline    uuid NOT NULL,
    shards      smallint NOT NULL CHECK (shards > 0),
    -- The newest format that may be in the log.
    log_format  integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- One row a shard: who may write (epoch), what comes next, and how far others have come. Updated by every commit, so
-- only its key is indexed and most of each page stays free: the new version of a row stays on its page (HOT).
CREATE TABLE shards (
    shard           smallint PRIMARY KEY,
    epoch           bigint NOT NULL DEFAULT 0,
    next_seq        bigint NOT NULL DEFAULT 1,
    last_hash       bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    -- Time of the last event, in milliseconds since 1970.
    last_at         bigint NOT NULL DEFAULT 0,
    -- The newest format of its events: an older program does not get the shard.
    log_format      integer NOT NULL DEFAULT 1,
    -- Up to where commands and reports have had their effect; offsets of another bus mean nothing.
    bus             text NOT NULL DEFAULT '',
    command_cursor  bigint NOT NULL DEFAULT 0,
    report_cursor   bigint NOT NULL DEFAULT 0,
    -- Up to where the events are published.
    published_seq   bigint NOT NULL DEFAULT 0,
    -- Jobs of earlier days (since 1970) are closed: nothing is added to them any more.
    closed_before   integer NOT NULL DEFAULT 0,
    -- Every job changed by an event up to here has a snapshot that knows the change.
    snapshot_seq    bigint NOT NULL DEFAULT 0,
    -- The process that claimed it last.
    owner           text NOT NULL DEFAULT '',
    claimed_at      timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- The events. Key: stream (job, task; 0: the job itself) and version. Place: shard and seq.
-- A worker's stream has its incarnation instead of a job, and lives in the day of each event.
CREATE TABLE events (
    day      integer NOT NULL,
    job      uuid NOT NULL,
    task     integer NOT NULL CHECK (task >= 0),
    version  integer NOT NULL CHECK (version > 0),
    shard    smallint NOT NULL,
    worker   boolean NOT NULL,
    seq      bigint NOT NULL CHECK (seq > 0),
    payload  bytea NOT NULL,
    CHECK (NOT (worker AND task > 0))
) PARTITION BY LIST (day);

-- The day comes last in the keys: readers know the stream or the shard, and mostly the day as well.
ALTER TABLE events ADD CONSTRAINT events_stream PRIMARY KEY (job, task, version, day);
ALTER TABLE events ADD CONSTRAINT events_place UNIQUE (shard, seq, day);
CREATE INDEX events_of_workers ON events (shard, seq) WHERE worker;

-- One row a commit of a shard, for ever: what must be known to prove that nothing was changed.
CREATE TABLE batches (
    shard      smallint NOT NULL,
    first_seq  bigint NOT NULL,
    last_seq   bigint NOT NULL CHECK (last_seq >= first_seq),
    prev_hash  bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    -- A day's events of the batch each: ranges of seq and their hash; canonical JSON.
    parts      bytea NOT NULL,
    -- The days of the parts, so that a reader knows which partitions to look into.
    days       integer[] NOT NULL,
    PRIMARY KEY (shard, last_seq)
);

-- Days whose events were dropped; verify takes the hashes of the parts instead.
CREATE TABLE retired_days (
    day        integer PRIMARY KEY,
    events     bigint NOT NULL,
    retired_at timestamptz NOT NULL DEFAULT now(),
    retired_by text NOT NULL DEFAULT session_user
);

-- Jobs as of a place in the log: a shortcut for loading, never the truth.
CREATE TABLE snapshots (
    job        uuid PRIMARY KEY,
    shard      smallint NOT NULL,
    seq        bigint NOT NULL,
    schema     smallint NOT NULL,
    -- Finished and nothing under way: a load leaves it here.
    at_rest    boolean NOT NULL,
    raw_bytes  integer NOT NULL,
    -- zstd
    bytes      bytea NOT NULL
);
ALTER TABLE snapshots ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE INDEX snapshots_under_way ON snapshots (shard) WHERE NOT at_rest;
CREATE INDEX snapshots_at_rest ON snapshots (shard, job) WHERE at_rest;

-- Workers as of the shard's snapshot_seq.
CREATE TABLE worker_heads (
    shard        smallint NOT NULL,
    name         text NOT NULL,
    incarnation  uuid NOT NULL,
    has_left     boolean NOT NULL,
    version      integer NOT NULL,
    seq          bigint NOT NULL,
    at_ms        bigint NOT NULL,
    PRIMARY KEY (shard, name)
);

-- Normalised documents, by their hash.
CREATE TABLE documents (
    hash        text PRIMARY KEY,
    normalised  bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Documents as they were submitted.
CREATE TABLE submissions (
    job           uuid PRIMARY KEY,
    hash          text NOT NULL REFERENCES documents,
    content_type  text NOT NULL,
    body          bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- Messages and events that cannot be taken in: counted, and passed over once they are quarantined.
CREATE TABLE quarantine (
    shard           smallint NOT NULL,
    source          text NOT NULL CHECK (source IN ('command', 'report', 'event')),
    -- Which bus the offset is of; empty for an event, whose place is its seq.
    bus             text NOT NULL,
    place           bigint NOT NULL,
    attempts        integer NOT NULL,
    reason          text NOT NULL,
    payload         bytea NOT NULL,
    principal       text NOT NULL,
    first_at        timestamptz NOT NULL DEFAULT now(),
    last_at         timestamptz NOT NULL DEFAULT now(),
    -- Null while it is still tried.
    quarantined_at  timestamptz,
    PRIMARY KEY (shard, source, bus, place)
);
CREATE INDEX quarantine_by_time ON quarantine (quarantined_at) WHERE quarantined_at IS NOT NULL;

-- Nobody changes what was written.
CREATE FUNCTION grid_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is only ever added to: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION grid_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION grid_refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON batches FOR EACH ROW EXECUTE FUNCTION grid_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON batches FOR EACH STATEMENT EXECUTE FUNCTION grid_refuse_change();

-- The smallest version 7 uuid of a day.
CREATE FUNCTION grid_first_id(day integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(day::bigint * 86400000), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partition of one day. It is attached, not created in place, so that no writer waits for it.
CREATE FUNCTION grid_make_day(day integer) RETURNS boolean LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'events_' || to_char(date '1970-01-01' + day, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL OR EXISTS (SELECT FROM retired_days WHERE retired_days.day = grid_make_day.day)
    THEN
        RETURN false;
    END IF;
    -- Two processes that start at once must not make the same one.
    PERFORM pg_advisory_xact_lock(7236837, 1);
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', partition);
    -- A partition holds the jobs of its day, so whole histories.
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT day_of_the_id CHECK (day = %s AND (worker OR (job >= %L AND job < %L)))',
                   partition, day, grid_first_id(day), grid_first_id(day + 1));
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT
                    EXECUTE FUNCTION grid_refuse_change()', partition);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES IN (%s)', partition, day);
    RETURN true;
END $$;

-- Makes what is missing from yesterday to a week ahead; returns how many were. With the owner's rights, so that the
-- service needs none.
CREATE FUNCTION grid_make_days() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FILTER (WHERE grid_make_day(day))::integer
    FROM generate_series((now() AT TIME ZONE 'UTC')::date - date '1970-01-01' - 1,
                         (now() AT TIME ZONE 'UTC')::date - date '1970-01-01' + 7) AS day
$$;

-- Drops a day's events, once nobody needs them: every shard has closed it and has published it, and no job of it is
-- under way. What was there is recorded.
CREATE FUNCTION grid_retire_day(day integer) RETURNS bigint LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
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
        WHERE e.day = grid_retire_day.day AND e.seq > least(s.published_seq, s.snapshot_seq);
    IF FOUND THEN
        RAISE EXCEPTION 'day % holds events that are not yet published or in a snapshot', day
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', partition) INTO counted;
    INSERT INTO retired_days (day, events) VALUES (day, counted);
    EXECUTE format('DROP TABLE %I', partition);
    DELETE FROM snapshots WHERE job >= grid_first_id(day) AND job < grid_first_id(day + 1);
    RETURN counted;
END $$;

REVOKE ALL ON FUNCTION grid_make_day(integer), grid_make_days(), grid_retire_day(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grid_make_days() TO grid;

GRANT SELECT ON log_meta, retired_days TO grid;
GRANT SELECT, UPDATE ON shards TO grid;
GRANT SELECT, INSERT ON events, batches, documents, submissions TO grid;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshots, worker_heads, quarantine TO grid;
