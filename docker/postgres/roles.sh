#!/bin/sh
# The two roles and the database of Grid, made once by the first start of a Postgres: the owner of the tables, used by
# `grid migrate` alone, and the service role, which may only add to the log. For Postgres servers of others, the same
# statements by hand do.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set owner_password="$GRID_OWNER_PASSWORD" --set service_password="$GRID_SERVICE_PASSWORD" <<'SQL'
CREATE ROLE grid_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE grid LOGIN PASSWORD :'service_password';
CREATE DATABASE grid OWNER grid_owner;
\connect grid
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO grid_owner;
REVOKE CONNECT, TEMPORARY ON DATABASE grid FROM PUBLIC;
GRANT CONNECT ON DATABASE grid TO grid;
SQL
