-- Restores from a backup: each began a new timeline of the log, and stands here for ever.
CREATE TABLE restores (
    timeline     uuid PRIMARY KEY,
    -- The timeline that the backup was of.
    previous     uuid NOT NULL,
    -- The lowest epoch that a shard had then: every epoch of the previous timeline is below it.
    epoch        bigint NOT NULL,
    restored_at  timestamptz NOT NULL DEFAULT now(),
    restored_by  text NOT NULL DEFAULT session_user
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON restores FOR EACH ROW EXECUTE FUNCTION grid_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON restores FOR EACH STATEMENT EXECUTE FUNCTION grid_refuse_change();
GRANT SELECT ON restores TO grid;
