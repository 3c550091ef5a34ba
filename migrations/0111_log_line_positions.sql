-- Who follows lines hears of them from their workers, and goes on in the store where a worker is away: by the position
-- that the worker gave each line, in microseconds since 1970, rising over its lines. 0: the line has none.
ALTER TABLE log_lines ADD COLUMN position bigint NOT NULL DEFAULT 0;
