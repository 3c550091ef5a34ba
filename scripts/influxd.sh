#!/usr/bin/env bash
# A real InfluxDB v2 for the tests, built from its released sources through Go's module proxy, once: prints its path.
# Needs Go 1.23 or later and Rust. Takes some minutes the first time; GRID_TEST_INFLUXD names one that is there already.
set -euo pipefail
# shellcheck source=scripts/go-program.sh
source "$(dirname "$0")/go-program.sh"

build() { # build FOLDER VERSION
    cd "$1"
    # InfluxDB replaces a module, which rules `go install` out, so a module around it is built.
    cat >go.mod <<'MOD'
module grid/influxd
go 1.23.0
require (
	github.com/influxdata/flux v0.196.1
	github.com/influxdata/influxdb/v2 v2.7.12
)
replace github.com/nats-io/nats-streaming-server v0.11.2 => github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
MOD
    # Newer compilers make errors of lints that the Rust inside of it denies, and RUSTFLAGS does not reach build scripts.
    cat >rustc.sh <<'RUSTC'
#!/bin/sh
case " $* " in *" --cap-lints "*) exec "$@" ;; *) exec "$@" --cap-lints warn ;; esac
RUSTC
    chmod +x rustc.sh
    GOBIN=$1 go install github.com/influxdata/pkg-config@v0.2.14
    GOFLAGS=-mod=mod PKG_CONFIG=$1/pkg-config RUSTUP_TOOLCHAIN=stable RUSTC_WRAPPER=$1/rustc.sh \
        go build -tags sqlite_foreign_keys,sqlite_json -ldflags "-s -w -X main.version=$2" \
        -o influxd github.com/influxdata/influxdb/v2/cmd/influxd
}

go_program influxd v2.7.12 influxd 1.23 "${GRID_TEST_INFLUXD:-}"
