-- How many tasks a job has, beside each of its labels: the tasks of a label are counted by one index alone. It never
-- changes after the submission.
--
-- Made by a function of its own, as in 0101; a rebuild calls it after grid_add_retries, on empty tables.

CREATE FUNCTION grid_add_label_counts(target text) RETURNS void LANGUAGE plpgsql AS $add$
DECLARE
    path text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', quote_ident(target), true);
    ALTER TABLE job_labels ADD COLUMN task_count int;
    UPDATE job_labels l SET task_count = j.task_count FROM jobs j WHERE j.id = l.job;
    ALTER TABLE job_labels ALTER COLUMN task_count SET NOT NULL;
    DROP INDEX job_labels_newest;
    CREATE INDEX job_labels_newest ON job_labels (name, value, created_at DESC, job DESC) INCLUDE (task_count);
    PERFORM set_config('search_path', path, true);
END
$add$;

REVOKE ALL ON FUNCTION grid_add_label_counts(text) FROM PUBLIC;

SELECT grid_add_label_counts('grid_read');
