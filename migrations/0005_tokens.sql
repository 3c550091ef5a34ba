-- API tokens: who may use the API, and as what.
--
-- A token is made by whoever has the owner's rights; the service role may only look, revoke, and note that one was used.
-- What a token is never changes, a revocation is never taken back, and rows stay, so that a principal in the log can be
-- traced to its tokens for ever.

CREATE TABLE api_tokens (
    id             text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    secret_sha256  bytea NOT NULL CHECK (length(secret_sha256) = 32),
    -- Stands in the events that the token causes. A token and its successor may share it.
    principal      text NOT NULL CHECK (principal ~ '^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$'),
    role           text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'worker')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     text NOT NULL DEFAULT session_user,
    -- Null: it does not expire.
    expires_at     timestamptz,
    revoked_at     timestamptz,
    revoked_by     text,
    -- To a minute.
    last_used_at   timestamptz
);
CREATE INDEX api_tokens_by_time ON api_tokens (created_at DESC, id);

CREATE FUNCTION grid_keep_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.revoked_at IS NULL OR (NEW.revoked_at, NEW.revoked_by) IS NOT DISTINCT FROM (OLD.revoked_at, OLD.revoked_by))
            AND (NEW.id, NEW.secret_sha256, NEW.principal, NEW.role, NEW.created_at, NEW.created_by, NEW.expires_at)
                IS NOT DISTINCT FROM
                (OLD.id, OLD.secret_sha256, OLD.principal, OLD.role, OLD.created_at, OLD.created_by, OLD.expires_at)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a token is revoked, not changed or removed: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Every API node hears of a revocation, whoever makes it.
CREATE FUNCTION grid_tell_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('grid_tokens', NEW.id);
    RETURN NULL;
END $$;

CREATE TRIGGER keep_token BEFORE UPDATE OR DELETE ON api_tokens FOR EACH ROW EXECUTE FUNCTION grid_keep_token();
CREATE TRIGGER keep_tokens BEFORE TRUNCATE ON api_tokens FOR EACH STATEMENT EXECUTE FUNCTION grid_keep_token();
CREATE TRIGGER tell_revocation AFTER UPDATE OF revoked_at ON api_tokens FOR EACH ROW
    WHEN (NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION grid_tell_revocation();

GRANT SELECT, UPDATE (revoked_at, revoked_by, last_used_at) ON api_tokens TO grid;
