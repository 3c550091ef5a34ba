#!/usr/bin/env bash
# Helm for the tests and the release, built from its released sources through Go's module proxy, once: prints its path.
# Takes two minutes the first time; GRID_TEST_HELM names one that is there already.
set -euo pipefail
# shellcheck source=scripts/go-program.sh
source "$(dirname "$0")/go-program.sh"

build() { # build FOLDER VERSION
    GOBIN=$1 go install -ldflags '-s -w' "helm.sh/helm/v3/cmd/helm@$2"
}

go_program helm v3.22.0 helm 1.26 "${GRID_TEST_HELM:-}"
