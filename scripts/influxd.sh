#!/usr/bin/env bash
# A real InfluxDB v2 for the tests, built from its released sources through Go's module proxy, once: prints its path.
# Needs Go 1.23 or later and Rust. Takes some minutes the first time; GRID_TEST_INFLUXD names one that is there already.
set -euo pipefail

version=v2.7.12
folder=${XDG_CACHE_HOME:-$HOME/.cache}/grid/influxd-$version
if [[ -n ${GRID_TEST_INFLUXD:-} ]]; then
    echo "$GRID_TEST_INFLUXD"
    exit 0
fi
if [[ ! -x $folder/influxd ]]; then
    if ! command -v go >/dev/null; then
        echo "influxd: Go is missing (1.23 or later, https://go.dev/dl): without it no InfluxDB can be built" >&2
        exit 1
    fi
    mkdir -p "$(dirname "$folder")"
    fresh=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    cd "$fresh"
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
    (
        GOBIN=$fresh go install github.com/influxdata/pkg-config@v0.2.14
        GOFLAGS=-mod=mod PKG_CONFIG=$fresh/pkg-config RUSTUP_TOOLCHAIN=stable RUSTC_WRAPPER=$fresh/rustc.sh \
            go build -tags sqlite_foreign_keys,sqlite_json -ldflags "-s -w -X main.version=$version" \
            -o influxd github.com/influxdata/influxdb/v2/cmd/influxd
    ) >&2
    # Another may have been quicker.
    mv -T "$fresh" "$folder" 2>/dev/null || [[ -x $folder/influxd ]]
fi
echo "$folder/influxd"
