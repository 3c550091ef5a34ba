#!/usr/bin/env bash
# Makes the README of the chart of its values: built from its released sources through Go's module proxy, once. Prints its
# path; GRID_TEST_HELM_DOCS names one that is there already.
set -euo pipefail
# shellcheck source=scripts/go-program.sh
source "$(dirname "$0")/go-program.sh"

build() { # build FOLDER VERSION
    GOBIN=$1 go install -ldflags '-s -w' "github.com/norwoodj/helm-docs/cmd/helm-docs@$2"
}

go_program helm-docs v1.14.2 helm-docs 1.22 "${GRID_TEST_HELM_DOCS:-}"
