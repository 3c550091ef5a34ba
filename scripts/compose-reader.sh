#!/usr/bin/env bash
# The reader of compose files that Docker's own command is built on (tests/deploy/compose), built through Go's module
# proxy, once: prints its path. GRID_TEST_COMPOSE_READER names one that is there already.
set -euo pipefail
# shellcheck source=scripts/go-program.sh
source "$(dirname "$0")/go-program.sh"
sources=$(cd "$(dirname "$0")/../tests/deploy/compose" && pwd)

build() { # build FOLDER VERSION
    cd "$sources"
    go build -ldflags '-s -w' -o "$1/compose-reader" .
}

go_program compose-reader "v2.16.2-$(cat "$sources"/* | sha256sum | cut -c 1-8)" compose-reader 1.24 "${GRID_TEST_COMPOSE_READER:-}"
