#!/usr/bin/env bash
# The long fault tests: many seeds of the simulation, then kills of real processes. GRID_SIM_SEEDS sets how many seeds.
set -euo pipefail
cd "$(dirname "$0")/.."
export GRID_SIM_SEEDS=${GRID_SIM_SEEDS:-100000} GRID_CHAOS=long
cargo test --release --locked --lib sim:: -- --nocapture "$@"
cargo test --release --locked --test it faults:: -- --nocapture --test-threads=1 "$@"
