-- The commands that have changed whether a worker gets work, of its name and as of the shard's snapshot_seq: one that
-- arrives again is not carried out again.
ALTER TABLE worker_heads ADD COLUMN commands uuid[] NOT NULL DEFAULT '{}';
