#!/usr/bin/env bash
# The long fault tests: many seeds of the simulation, then kills of real processes. Arguments go to the tests.
#
# How much, by environment (what stands here is the default):
#   GRID_SIM_SEEDS=100000              seeds of the simulation; 0: none
#   GRID_CHAOS_STANDALONE=100          kills of a standalone
#   GRID_CHAOS_PRIVATE_POSTGRES=20     kills of the Postgres that standalone keeps
#   GRID_CHAOS_JOBMASTERS=50           kills of one of two jobmasters
#   GRID_CHAOS_PAUSES=20               jobmasters stopped in the middle of a commit until others took over
#   GRID_CHAOS_WORKERS=50              kills of a worker
#   GRID_CHAOS_SILENT_WORKERS=10       workers stopped for longer than they may be silent
#   GRID_CHAOS_POSTGRES=20             kills of a cluster's Postgres
#   GRID_CHAOS_KAFKA=10                kills of a cluster's Kafka, down for 15 seconds
#   GRID_CHAOS_KEEP=1                  keeps the logs of all processes also when nothing fails (not set by default)
set -euo pipefail
cd "$(dirname "$0")/.."
export GRID_SIM_SEEDS=${GRID_SIM_SEEDS:-100000} GRID_CHAOS=long
if [[ $GRID_SIM_SEEDS -gt 0 ]]; then
    cargo test --release --locked --lib sim:: -- --nocapture "$@"
fi
cargo test --release --locked --test it faults:: -- --nocapture --test-threads=1 "$@"
