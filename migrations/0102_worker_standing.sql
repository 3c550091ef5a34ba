-- Whether a worker gets work: its name is cordoned, its process was told to finish and leave.

-- Workers as of the shard's snapshot_seq.
ALTER TABLE worker_heads
    ADD COLUMN cordoned boolean NOT NULL DEFAULT false,
    ADD COLUMN draining boolean NOT NULL DEFAULT false;

ALTER TABLE grid_read.workers
    ADD COLUMN cordoned boolean NOT NULL DEFAULT false,
    ADD COLUMN draining boolean NOT NULL DEFAULT false;

-- Read models that are made from now on: as before, and with these columns.
ALTER FUNCTION grid_create_read_models(text) RENAME TO grid_create_read_models_before_0102;

CREATE FUNCTION grid_create_read_models(target text) RETURNS void LANGUAGE plpgsql AS $create$
BEGIN
    PERFORM grid_create_read_models_before_0102(target);
    EXECUTE format(
        'ALTER TABLE %I.workers
             ADD COLUMN cordoned boolean NOT NULL DEFAULT false,
             ADD COLUMN draining boolean NOT NULL DEFAULT false', target);
END
$create$;

REVOKE ALL ON FUNCTION grid_create_read_models(text) FROM PUBLIC;
