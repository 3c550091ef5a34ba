#!/usr/bin/env bash
# A real VictoriaLogs for the tests, built from its released sources through Go's module proxy, once: prints its path.
# Needs Go 1.26 or later and takes two minutes the first time; GRID_TEST_VICTORIALOGS names one that is there already.
set -euo pipefail
# shellcheck source=scripts/go-program.sh
source "$(dirname "$0")/go-program.sh"

build() { # build FOLDER VERSION
    GOBIN=$1 go install -ldflags '-s -w' "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@$2"
}

go_program victoria-logs v1.52.1 victoria-logs 1.26 "${GRID_TEST_VICTORIALOGS:-}"
