-- Purges: what is known of a job beside the log (its lines, points, dead letters, checkpoints and document) is removed at the
-- wish of somebody. The log stays as it is. Each run is a row here, for ever: who, when, and what was removed.
CREATE TABLE purges (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job             uuid NOT NULL,
    purged_by       text NOT NULL,
    requested_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Null: it is under way, or was interrupted and is to be run again.
    finished_at     timestamptz,
    -- SHA-256 of the normalised document, as the log has it; null when an earlier run removed it.
    document_hash   text,
    -- The normalised document is still that of other jobs.
    document_shared boolean,
    log_lines       bigint,
    metric_points   bigint,
    dead_letters    bigint,
    checkpoints     bigint
);
CREATE INDEX purges_of_job ON purges (job, id);

CREATE FUNCTION grid_keep_purge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.finished_at IS NULL AND (NEW.id, NEW.job, NEW.purged_by, NEW.requested_at)
            IS NOT DISTINCT FROM (OLD.id, OLD.job, OLD.purged_by, OLD.requested_at)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'who purged what is kept for ever: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER keep_purge BEFORE UPDATE OR DELETE ON purges FOR EACH ROW EXECUTE FUNCTION grid_keep_purge();
CREATE TRIGGER keep_purges BEFORE TRUNCATE ON purges FOR EACH STATEMENT EXECUTE FUNCTION grid_keep_purge();

-- What a purge of the job would remove here.
CREATE FUNCTION grid_purgeable(wanted uuid, OUT document_hash text, OUT document_shared boolean, OUT log_lines bigint,
    OUT metric_points bigint, OUT dead_letters bigint, OUT checkpoints bigint)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    SELECT s.hash, EXISTS (SELECT FROM submissions o WHERE o.hash = s.hash AND o.job <> wanted)
        INTO document_hash, document_shared FROM submissions s WHERE s.job = wanted;
    SELECT count(*) INTO log_lines FROM log_lines l WHERE l.job_id = 'job-' || wanted;
    SELECT count(*) INTO metric_points FROM metric_series s JOIN metric_points p ON p.series = s.id
        WHERE s.tags @> jsonb_build_object('job_id', 'job-' || wanted);
    SELECT count(*) INTO dead_letters FROM dead_letters d WHERE d.job = wanted;
    SELECT count(*) INTO checkpoints FROM checkpoints c WHERE c.job = wanted;
END $$;

-- Removes it, for a purge that was written down and has not finished. With the owner's rights: the service can add and
-- read, and remove nothing but so.
CREATE FUNCTION grid_purge(purge bigint) RETURNS purges
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    done     purges;
    of_job   text;
    document text;
BEGIN
    SELECT * INTO done FROM purges p WHERE p.id = purge AND p.finished_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no purge % that has not finished', purge USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    of_job := 'job-' || done.job;
    SELECT s.hash INTO document FROM submissions s WHERE s.job = done.job;
    -- Whoever submits the same document waits, and finds whether it is there.
    PERFORM FROM documents d WHERE d.hash = document FOR UPDATE;
    DELETE FROM submissions s WHERE s.job = done.job;
    done.document_hash := document;
    done.document_shared := EXISTS (SELECT FROM submissions s WHERE s.hash = document);
    IF NOT done.document_shared THEN
        DELETE FROM documents d WHERE d.hash = document;
    END IF;
    DELETE FROM log_lines l WHERE l.job_id = of_job;
    GET DIAGNOSTICS done.log_lines = ROW_COUNT;
    DELETE FROM metric_points p USING metric_series s
        WHERE s.tags @> jsonb_build_object('job_id', of_job) AND p.series = s.id;
    GET DIAGNOSTICS done.metric_points = ROW_COUNT;
    DELETE FROM metric_rollups r USING metric_series s
        WHERE s.tags @> jsonb_build_object('job_id', of_job) AND r.series = s.id;
    DELETE FROM metric_series s WHERE s.tags @> jsonb_build_object('job_id', of_job);
    DELETE FROM dead_letters d WHERE d.job = done.job;
    GET DIAGNOSTICS done.dead_letters = ROW_COUNT;
    DELETE FROM dead_letter_tasks d WHERE d.job = done.job;
    DELETE FROM dead_letter_jobs d WHERE d.job = done.job;
    DELETE FROM checkpoints c WHERE c.job = done.job;
    GET DIAGNOSTICS done.checkpoints = ROW_COUNT;
    UPDATE purges p SET finished_at = clock_timestamp(), document_hash = done.document_hash,
           document_shared = done.document_shared, log_lines = done.log_lines, metric_points = done.metric_points,
           dead_letters = done.dead_letters, checkpoints = done.checkpoints
        WHERE p.id = purge RETURNING p.* INTO done;
    RETURN done;
END $$;

REVOKE EXECUTE ON FUNCTION grid_purgeable(uuid), grid_purge(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grid_purgeable(uuid), grid_purge(bigint) TO grid;
GRANT SELECT, INSERT (job, purged_by) ON purges TO grid;
