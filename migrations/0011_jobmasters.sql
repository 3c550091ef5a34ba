-- The processes that decide jobs. Each says every two seconds that it lives, and up to which format of the log it knows,
-- so that the format is not raised while one lives that could not read it. Not part of the log: a row may go at any time.
CREATE TABLE jobmasters (
    incarnation  uuid PRIMARY KEY,
    name         text NOT NULL,
    -- The version of its program, for people.
    program      text NOT NULL,
    log_format   integer NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    beat_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON jobmasters TO grid;
