-- Read models: what REST, GraphQL and the page read. All of it can be thrown away and made anew from the log.
--
-- They live in the schema grid_read. A rebuild makes the same tables in grid_read_next and renames the schemas, so the
-- tables are made by a function, and nothing in them names its schema.

CREATE FUNCTION grid_create_read_models(target text) RETURNS void LANGUAGE plpgsql AS $create$
DECLARE
    path text := current_setting('search_path');
BEGIN
    EXECUTE format('CREATE SCHEMA %I', target);
    PERFORM set_config('search_path', quote_ident(target), true);

    -- How far each shard's events are in these tables; moved by compare-and-set in the transaction that writes them.
    -- `jobs` counts the rows of the shard's jobs, so that a list knows its total without counting.
    CREATE TABLE projection_cursors (
        shard int PRIMARY KEY,
        seq bigint NOT NULL,
        jobs bigint NOT NULL
    ) WITH (fillfactor = 20);

    -- The counters and the seq change all the time, the rest hardly ever: no changing column has an index, so that
    -- updates stay on their page.
    CREATE TABLE jobs (
        id uuid PRIMARY KEY,
        shard int NOT NULL,
        external_id text,
        labels jsonb NOT NULL,
        document_hash text NOT NULL,
        principal text NOT NULL,
        task_count int NOT NULL,
        max_parallel int,
        deadline timestamptz,
        created_at timestamptz NOT NULL,
        finished_at timestamptz,
        ready int NOT NULL,
        scheduled int NOT NULL,
        running int NOT NULL,
        completed int NOT NULL,
        failed int NOT NULL,
        retries_pending int NOT NULL,
        -- Finally failed tasks by reason.
        final_error int NOT NULL,
        final_timeout int NOT NULL,
        final_killed int NOT NULL,
        final_worker_lost int NOT NULL,
        final_handed_back int NOT NULL,
        final_invalid_dag int NOT NULL,
        final_authentication int NOT NULL,
        final_unrecoverable int NOT NULL,
        -- The same table of cases as domain::Counters::status.
        status text NOT NULL GENERATED ALWAYS AS (
            CASE
                WHEN ready + scheduled + running + completed + failed = 0 THEN 'EMPTY'
                WHEN ready + scheduled + running + retries_pending > 0 THEN 'RUNNING'
                WHEN failed = 0 THEN 'COMPLETED'
                WHEN final_timeout = failed THEN 'TIMEOUT'
                WHEN final_timeout = 0 AND (final_killed < failed OR completed = 0) THEN 'FAILED'
                ELSE 'MIXED'
            END
        ) STORED,
        -- The last event that changed the row.
        seq bigint NOT NULL
    ) WITH (fillfactor = 40);
    CREATE INDEX jobs_newest ON jobs (created_at DESC, id DESC);

    -- What of a job's document the domain knows: names, replicas and policies of its tasks are read from here.
    CREATE TABLE job_specs (
        id uuid PRIMARY KEY,
        spec json NOT NULL
    );

    -- Only what differs from task to task; a task not written out yet has no row and is READY. The times, the worker
    -- and the failure are those of the present attempt; earlier ones are in `attempts`.
    -- `json` and not `jsonb` for failures: nobody searches them, and they are written as they come.
    CREATE TABLE tasks (
        job uuid NOT NULL,
        number int NOT NULL,
        attempt int NOT NULL,
        retry_count smallint NOT NULL,
        state text NOT NULL,
        next_retry_at timestamptz,
        scheduled_at timestamptz,
        started_at timestamptz,
        finished_at timestamptz,
        worker text,
        reason text,
        failure json,
        PRIMARY KEY (job, number)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

    CREATE TABLE attempts (
        job uuid NOT NULL,
        number int NOT NULL,
        attempt int NOT NULL,
        scheduled_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        worker text,
        reason text,
        failure json,
        PRIMARY KEY (job, number, attempt)
    );

    CREATE TABLE workers (
        name text PRIMARY KEY,
        shard int NOT NULL,
        incarnation uuid NOT NULL,
        endpoint_url text NOT NULL,
        max_capacity bigint NOT NULL,
        labels jsonb NOT NULL,
        registered_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        left_at timestamptz,
        left_cause text,
        seq bigint NOT NULL
    );
    CREATE INDEX workers_newest ON workers (created_at DESC, name DESC);

    -- A database that one role alone uses may have no role of the service.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'grid') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO grid', target);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO grid', target);
    END IF;
    PERFORM set_config('search_path', path, true);
END
$create$;

REVOKE ALL ON FUNCTION grid_create_read_models(text) FROM PUBLIC;

SELECT grid_create_read_models('grid_read');
