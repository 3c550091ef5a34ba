#!/usr/bin/env bash
# A real API server of Kubernetes, its etcd and kubectl, built from their released sources through Go's module proxy, once:
# prints the path of the API server; the others are beside it. Takes five minutes the first time, and 1 GB while it does;
# GRID_TEST_APISERVER names one that is there already, with the others beside it.
set -euo pipefail
# shellcheck source=scripts/go-program.sh
source "$(dirname "$0")/go-program.sh"

build() { # build FOLDER VERSION
    local staging=${2/v1./v0.} sources
    cd "$1"
    # Kubernetes replaces its own modules by folders, which rules `go install` out, so a module around it is built.
    sources=$(go mod download -json "k8s.io/kubernetes@$2" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    {
        printf 'module grid/kubernetes\n\ngo 1.25.0\n\nrequire (\n'
        printf '\tk8s.io/kubernetes %s\n\tgo.etcd.io/etcd/server/v3 v3.6.5\n)\n' "$2"
        sed -n "s,^\s*\(k8s.io/[a-z-]*\) => ./staging/.*,replace \1 => \1 $staging,p" "$sources/go.mod"
    } >go.mod
    # Helm asks the server for its version.
    local stamp=k8s.io/component-base/version
    GOFLAGS=-mod=mod go build -o . -ldflags "-s -w -X $stamp.gitVersion=$2 -X $stamp.gitMajor=1 -X $stamp.gitMinor=35" \
        k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
    GOFLAGS=-mod=mod go build -o etcd -ldflags '-s -w' go.etcd.io/etcd/server/v3
}

go_program kubernetes v1.35.4 kube-apiserver 1.25 "${GRID_TEST_APISERVER:-}"
