#!/usr/bin/env bash
# The dashboards and alert rules of docker/grafana: "check" (the default) tries what is committed, "write" makes it anew,
# "queries" prints every query.
set -euo pipefail
cd "$(dirname "$0")/.."

GRID_GRAFANA_MODULES=$(scripts/web-modules.sh docker/grafana/source)
export GRID_GRAFANA_MODULES
node=$(PATH=$GRID_GRAFANA_MODULES/bin:$PATH command -v node)

case ${1:-check} in
write) "$node" docker/grafana/source/generate.mjs ;;
queries) "$node" docker/grafana/source/queries.mjs ;;
check) "$node" --test docker/grafana/source/*.test.mjs ;;
*)
    echo "grafana.sh: expected check, write or queries, found $1" >&2
    exit 2
    ;;
esac
