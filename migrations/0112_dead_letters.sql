-- Dead letters: records that a pipeline could not process, with where and why. Beside the log: they are no events, and go
-- with their job.
CREATE TABLE dead_letters (
    job      uuid NOT NULL,
    task     integer NOT NULL,
    -- Counts the records of the task that failed, from 1, over its attempts.
    number   bigint NOT NULL,
    -- Rises in the order of the commits within a job, since who adds holds the job's row of `dead_letter_jobs`.
    id       bigint GENERATED ALWAYS AS IDENTITY,
    attempt  integer NOT NULL,
    -- When it failed, in milliseconds since 1970.
    at       bigint NOT NULL,
    node     text NOT NULL,
    error    text NOT NULL,
    -- JSON as text, so that numbers stay as they are.
    record   text NOT NULL,
    -- Only the beginning of the record is there.
    is_cut   boolean NOT NULL,
    PRIMARY KEY (job, task, number)
);

-- Of each task that has failed records, or was tried again: from where its present attempt counts.
CREATE TABLE dead_letter_tasks (
    job      uuid NOT NULL,
    task     integer NOT NULL,
    attempt  integer NOT NULL,
    -- So many had failed where the attempt went on from an earlier one.
    after    bigint NOT NULL,
    failed   bigint NOT NULL,
    PRIMARY KEY (job, task)
) WITH (fillfactor = 70);

-- What a job has of them.
CREATE TABLE dead_letter_jobs (
    job     uuid PRIMARY KEY,
    failed  bigint NOT NULL DEFAULT 0,
    kept    bigint NOT NULL DEFAULT 0,
    bytes   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- A day that is retired takes those of its jobs along, whoever retires it.
CREATE FUNCTION grid_drop_dead_letters() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM dead_letters WHERE job >= grid_first_id(NEW.day) AND job < grid_first_id(NEW.day + 1);
    DELETE FROM dead_letter_tasks WHERE job >= grid_first_id(NEW.day) AND job < grid_first_id(NEW.day + 1);
    DELETE FROM dead_letter_jobs WHERE job >= grid_first_id(NEW.day) AND job < grid_first_id(NEW.day + 1);
    RETURN NULL;
END $$;
CREATE TRIGGER drop_dead_letters AFTER INSERT ON retired_days FOR EACH ROW EXECUTE FUNCTION grid_drop_dead_letters();

GRANT SELECT, INSERT, UPDATE, DELETE ON dead_letters, dead_letter_tasks, dead_letter_jobs TO grid;
