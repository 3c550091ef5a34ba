#!/usr/bin/env bash
# Every test, on one profile, so that nothing is built twice. Goes on after a failed suite, and says at the end which
# failed and how long each took.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

report=()
failed=0

suite() { # suite NAME COMMAND…
    local name=$1 begun=$SECONDS outcome=ok
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" || outcome=FAILED
    [[ $outcome == ok ]] || failed=1
    report+=("$(printf '%-12s %6d s  %s' "$name" $((SECONDS - begun)) "$outcome")")
    [[ $outcome == ok ]]
}

finish() {
    printf '\n== times\n'
    printf '  %s\n' "${report[@]}" "$(printf '%-12s %6d s' all "$SECONDS")"
    exit "$failed"
}

suite setup scripts/setup.sh || finish
suite python scripts/venv.sh || finish
suite ui scripts/ui.sh --check || finish
suite build cargo build --release --locked || finish
suite format cargo fmt --check
suite clippy cargo clippy --release --locked --all-targets -- -D warnings
suite unit cargo test --release --locked --lib
suite integration cargo test --release --locked --test it
suite schemathesis scripts/schemathesis.sh
suite demo scripts/demo-once.sh
suite grafana scripts/grafana.sh
suite deploy scripts/deploy.sh
suite crates scripts/crates.sh
suite scripts shellcheck scripts/*.sh docker/*.sh docker/postgres/*.sh .ci/run
finish
