-- Lists and search: what finds jobs, tasks and names quickly.
--
-- Made by a function of its own, so that the live read models and those of a rebuild get the same; a rebuild calls it
-- after grid_create_read_models.

CREATE FUNCTION grid_add_lists(target text) RETURNS void LANGUAGE plpgsql AS $add$
DECLARE
    path text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', quote_ident(target), true);

    -- Tasks by state, of the shard's jobs: lists of tasks know their total without counting.
    ALTER TABLE projection_cursors
        ADD COLUMN ready bigint NOT NULL DEFAULT 0,
        ADD COLUMN scheduled bigint NOT NULL DEFAULT 0,
        ADD COLUMN running bigint NOT NULL DEFAULT 0,
        ADD COLUMN completed bigint NOT NULL DEFAULT 0,
        ADD COLUMN failed bigint NOT NULL DEFAULT 0;

    -- Counters of jobs change all the time and stay out of every index. A status and the time of the end change once in
    -- a job's life, together: that one update goes to the indexes, all others stay on their page.
    DROP INDEX jobs_newest;
    CREATE INDEX jobs_newest ON jobs (created_at DESC, id DESC) INCLUDE (task_count);
    CREATE INDEX jobs_by_status ON jobs (status, created_at DESC, id DESC);
    CREATE INDEX jobs_by_end ON jobs ((COALESCE(finished_at, 'infinity')) DESC, created_at DESC, id DESC);
    CREATE INDEX jobs_by_name ON jobs ((COALESCE(external_id, '')) COLLATE "C" DESC, created_at DESC, id DESC);

    -- Never changed after the submission.
    CREATE TABLE job_labels (
        job uuid NOT NULL,
        name text COLLATE "C" NOT NULL,
        value text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (job, name)
    );
    CREATE INDEX job_labels_newest ON job_labels (name, value, created_at DESC, job DESC);
    CREATE INDEX job_labels_by_value ON job_labels (value, created_at DESC, job DESC);

    -- The names of a job's tasks, one row for each task of its document: `replicas` tasks from `first_number` on.
    CREATE TABLE task_names (
        job uuid NOT NULL,
        first_number int NOT NULL,
        replicas int NOT NULL,
        name text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (job, first_number)
    );
    CREATE INDEX task_names_newest ON task_names (name, created_at DESC, job DESC);

    -- Of jobs with more than 512 tasks: how many of each 512 are in which state (block 0: the numbers 1 to 512). The
    -- states of single tasks have no index, because it would have to be written with each change of each task.
    CREATE TABLE task_blocks (
        job uuid NOT NULL,
        block int NOT NULL,
        ready int NOT NULL,
        scheduled int NOT NULL,
        running int NOT NULL,
        completed int NOT NULL,
        failed int NOT NULL,
        PRIMARY KEY (job, block)
    ) WITH (fillfactor = 50);

    CREATE INDEX workers_by_name ON workers (name COLLATE "C");

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'grid') THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO grid', target);
    END IF;
    PERFORM set_config('search_path', path, true);
END
$add$;

REVOKE ALL ON FUNCTION grid_add_lists(text) FROM PUBLIC;

SELECT grid_add_lists('grid_read');

-- What is there already.
UPDATE grid_read.projection_cursors c
SET ready = s.ready, scheduled = s.scheduled, running = s.running, completed = s.completed, failed = s.failed
FROM (
    SELECT shard, sum(ready) AS ready, sum(scheduled) AS scheduled, sum(running) AS running,
        sum(completed) AS completed, sum(failed) AS failed
    FROM grid_read.jobs GROUP BY shard
) s
WHERE s.shard = c.shard;

INSERT INTO grid_read.job_labels (job, name, value, created_at)
SELECT j.id, l.key, l.value, j.created_at FROM grid_read.jobs j, jsonb_each_text(j.labels) l;

INSERT INTO grid_read.task_names (job, first_number, replicas, name, created_at)
SELECT id, upto - replicas + 1, replicas, name, created_at
FROM (
    SELECT j.id, (g.spec ->> 'replicas')::int AS replicas, g.spec ->> 'externalId' AS name, j.created_at,
        sum((g.spec ->> 'replicas')::int) OVER (PARTITION BY j.id ORDER BY g.place)::int AS upto
    FROM grid_read.jobs j
    JOIN grid_read.job_specs s USING (id), json_array_elements(s.spec -> 'groups') WITH ORDINALITY g(spec, place)
) names;

INSERT INTO grid_read.task_blocks (job, block, ready, scheduled, running, completed, failed)
SELECT j.id, b.block, least(512, j.task_count - 512 * b.block) - t.scheduled - t.running - t.completed - t.failed,
    t.scheduled, t.running, t.completed, t.failed
FROM grid_read.jobs j, generate_series(0, (j.task_count - 1) / 512) b(block), LATERAL (
    SELECT count(*) FILTER (WHERE state = 'SCHEDULED')::int AS scheduled,
        count(*) FILTER (WHERE state = 'RUNNING')::int AS running,
        count(*) FILTER (WHERE state = 'COMPLETED')::int AS completed,
        count(*) FILTER (WHERE state = 'FAILED')::int AS failed
    FROM grid_read.tasks t
    WHERE t.job = j.id AND t.number BETWEEN 512 * b.block + 1 AND 512 * b.block + 512
) t
WHERE j.task_count > 512;
