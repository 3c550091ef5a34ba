#!/usr/bin/env bash
# Installs the chart into a real API server of Kubernetes, reads it back, upgrades and removes it. Nothing runs its pods.
# Arguments are pytest's.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(scripts/venv.sh)
GRID_TEST_APISERVER=$(scripts/kubernetes.sh)
GRID_TEST_HELM=$(scripts/helm.sh)
export GRID_TEST_APISERVER GRID_TEST_HELM

PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/python/deploy exec "$python/bin/pytest" -q -rs -p no:cacheprovider \
    -o tmp_path_retention_policy=none \
    tests/python/cluster "$@"
