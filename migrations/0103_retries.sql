-- Scheduled retries by their due time: all of them, and those of a job. Only tasks that wait for a retry are in these
-- indexes, so a task that does not fail never writes to them, and its updates stay on their page.
--
-- Made by a function of its own, as in 0101; a rebuild calls it after grid_add_lists.

CREATE FUNCTION grid_add_retries(target text) RETURNS void LANGUAGE plpgsql AS $add$
DECLARE
    path text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', quote_ident(target), true);
    CREATE INDEX tasks_retries ON tasks (next_retry_at, job, number) WHERE next_retry_at IS NOT NULL;
    CREATE INDEX tasks_retries_of_job ON tasks (job, next_retry_at, number) WHERE next_retry_at IS NOT NULL;
    PERFORM set_config('search_path', path, true);
END
$add$;

REVOKE ALL ON FUNCTION grid_add_retries(text) FROM PUBLIC;

SELECT grid_add_retries('grid_read');
