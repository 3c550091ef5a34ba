#!/usr/bin/env bash
# Measures the web page in Chromium: how quickly views are there with 100,000 jobs, and how smoothly 100,000 lines of a task
# are turned over (tests/web/ui/bench.mjs). Starts a standalone of its own and fills it.
#
#   GRID   the program (target/release/grid), built after `make ui`
#   JOBS   how many jobs (100000)
# Arguments: what alone is measured, such as frameMs.
set -euo pipefail
cd "$(dirname "$0")/.."
grid=$(realpath "${GRID:-target/release/grid}")
jobs=${JOBS:-100000}
address=127.0.0.1:${BENCH_PORT:-18099}
modules=$(scripts/web-modules.sh)
PATH=$modules/bin:$PATH

folder=$(mktemp -d)
chmod 755 "$folder"
"$grid" standalone --data-dir "$folder/data" --listen "$address" --slots 64 --set api.rate_per_second=0 \
    --set worker.log_lines_per_second=100000 2>"$folder/log" &
server=$!
finish() {
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" || true
    rm -rf "$folder"
}
trap finish EXIT
for _ in {1..600}; do
    curl --silent --fail --max-time 2 "http://$address/health/ready" >/dev/null && break
    sleep 0.2
done
"$grid" bench api --server "http://$address" --jobs "$jobs" --tasks-per-job 1 --requests 1 --tasks-per-second 0 >/dev/null
GRID_URL=http://$address GRID_WEB_MODULES=$modules GRID_CHROMIUM=$(command -v chromium) node tests/web/ui/bench.mjs "$@"
