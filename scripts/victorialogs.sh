#!/usr/bin/env bash
# A real VictoriaLogs for the tests, built from its released sources through Go's module proxy, once: prints its path.
# Needs Go 1.26 or later and takes two minutes the first time; GRID_TEST_VICTORIALOGS names one that is there already.
set -euo pipefail

version=v1.52.1
folder=${XDG_CACHE_HOME:-$HOME/.cache}/grid/victoria-logs-$version
if [[ -n ${GRID_TEST_VICTORIALOGS:-} ]]; then
    echo "$GRID_TEST_VICTORIALOGS"
    exit 0
fi
if [[ ! -x $folder/victoria-logs ]]; then
    if ! command -v go >/dev/null; then
        echo "victorialogs: Go is missing (1.26 or later, https://go.dev/dl): without it no VictoriaLogs can be built" >&2
        exit 1
    fi
    mkdir -p "$(dirname "$folder")"
    fresh=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    GOBIN=$fresh go install -ldflags '-s -w' \
        "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@$version" >&2
    # Another may have been quicker.
    mv -T "$fresh" "$folder" 2>/dev/null || [[ -x $folder/victoria-logs ]]
fi
echo "$folder/victoria-logs"
