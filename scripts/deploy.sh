#!/usr/bin/env bash
# Tries what Grid is deployed with: the image, the compose file, the chart. Arguments are pytest's: -k compose. Starts no
# container and needs no cluster. GRID names another program than target/release/grid. "readme" writes the README of the
# chart anew from its values instead.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} == readme ]]; then
    exec "$(scripts/helm-docs.sh)" --chart-search-root charts --sort-values-order file
fi

python=$(scripts/venv.sh)
# Not everybody has Go, or one that builds Helm; without it the tests say what they leave out.
if command -v go >/dev/null; then
    GRID_TEST_COMPOSE_READER=$(scripts/compose-reader.sh)
    GRID_TEST_HELM=$(scripts/helm.sh || true)
    GRID_TEST_HELM_DOCS=$(scripts/helm-docs.sh)
    export GRID_TEST_COMPOSE_READER GRID_TEST_HELM GRID_TEST_HELM_DOCS
fi
modules=$(scripts/web-modules.sh tests/deploy)
export GRID_TEST_DCLINT=$modules/node_modules/.bin/dclint
# A newer Node where that of the system is too old.
export PATH=$modules/bin:$PATH

PYTHONDONTWRITEBYTECODE=1 exec "$python/bin/pytest" -q -rs -p no:cacheprovider \
    -o tmp_path_retention_policy=none tests/python/deploy "$@"
