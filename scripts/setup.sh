#!/usr/bin/env bash
# Finds what building and testing needs and this machine lacks. Root on Debian or Ubuntu: installs it. Else: prints the
# line that does, and ends with 1.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()  # what, for people
packages=() # Debian's names of it

need() { # need WHAT PACKAGE COMMAND…: COMMAND succeeds when WHAT is there
    local what=$1 package=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing+=("$what")
        packages+=("$package")
    fi
}

has_postgres() {
    local dir
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin $(pg_config --bindir 2>/dev/null) ${PATH//:/ }; do
        if [[ -x $dir/initdb && -x $dir/postgres ]]; then
            return 0
        fi
    done
    return 1
}

has_jdk() { # 17 or later
    local version
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [[ -n $version && $version -ge 17 ]]
}

compiles() { # compiles HEADER
    echo "#include <$1>" | cc -E -x c -
}

if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing. Install it from https://rustup.rs; the version is chosen by rust-toolchain.toml." >&2
    exit 1
fi

need "Postgres server programs (15 or later)" postgresql has_postgres
need "psql" postgresql-client command -v psql
need "a JDK, 17 or later (the tests' Kafka)" jdk has_jdk
need "Maven (fetches the tests' Kafka)" maven command -v mvn
need "a C compiler and its headers" build-essential compiles stdio.h
need "make" make command -v make
need "pkg-config" pkg-config command -v pkg-config
need "OpenSSL's headers (TLS to Kafka)" libssl-dev compiles openssl/ssl.h
need "zlib's headers" zlib1g-dev compiles zlib.h
need "curl" curl command -v curl
need "jq" jq command -v jq
need "zstd" zstd command -v zstd
need "python3" python3 command -v python3
need "python3's venv" python3-venv python3 -c "import ensurepip, venv"
need "shellcheck" shellcheck command -v shellcheck
need "zsh (tries what completes its commands)" zsh command -v zsh
need "fish (as well)" fish command -v fish
need "promtool (reads what is told to Prometheus)" prometheus command -v promtool
need "Node (builds the web page, runs the tests' clients of GraphQL)" nodejs command -v node
need "npm (fetches what they need, and a newer Node where it is too old)" npm command -v npm
need "Chromium (the tests open the pages in it)" chromium command -v chromium

fetch() { # what is no package of the system
    scripts/web-modules.sh >/dev/null
    scripts/web-modules.sh docker/grafana/source >/dev/null
    scripts/web-modules.sh tests/deploy >/dev/null
    scripts/web-modules.sh src/ui >/dev/null
    # Not everybody has Go; without it the tests say that they leave InfluxDB and VictoriaLogs out.
    if command -v go >/dev/null; then
        scripts/influxd.sh >/dev/null
        scripts/compose-reader.sh >/dev/null
        scripts/helm-docs.sh >/dev/null
        # Its sources want the newest Go, which may not be had.
        scripts/victorialogs.sh >/dev/null ||
            echo "setup: VictoriaLogs cannot be built (Go 1.26 or later, https://go.dev/dl): its tests will be skipped" >&2
        scripts/helm.sh >/dev/null ||
            echo "setup: Helm cannot be built (Go 1.26 or later, https://go.dev/dl): the chart's tests will be skipped" >&2
    else
        echo "setup: no Go (1.26 or later, https://go.dev/dl), so no InfluxDB, VictoriaLogs or Helm: their tests will be skipped" >&2
    fi
}

if [[ ${#missing[@]} -eq 0 ]]; then
    fetch
    echo "setup: everything is there"
    exit 0
fi
printf 'setup: missing: %s\n' "${missing[@]}"

jdk_package() { # the first that this release has
    local package
    for package in openjdk-17-jdk-headless openjdk-21-jdk-headless openjdk-25-jdk-headless; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
    echo default-jdk-headless
}

if ! command -v apt-get >/dev/null; then
    echo "setup: this is not Debian or Ubuntu; install these by your system's means, then run make setup again" >&2
    exit 1
fi

if [[ $(id -u) -ne 0 ]]; then
    packages=("${packages[@]/#jdk/$(jdk_package)}")
    echo "setup: run this, then make setup again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
packages=("${packages[@]/#jdk/$(jdk_package)}")
if [[ " ${packages[*]} " == *" postgresql "* ]]; then
    # Only the programs are wanted: Debian would make a cluster of the system and start it.
    apt-get install -y -qq --no-install-recommends postgresql-common
    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
fi
policy=/usr/sbin/policy-rc.d
if [[ " ${packages[*]} " == *" prometheus "* && ! -e $policy ]]; then
    # Of that one too: its server would be started, and listen.
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends "${packages[@]}"
fetch
echo "setup: installed ${packages[*]}"
