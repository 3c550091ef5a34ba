#!/usr/bin/env bash
# The demo as a test: in a folder and on a port of its own, ended after the result. Its figures are checked by itself; here,
# that it shows what it is there to show.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d /tmp/grid-demo.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
DEMO_ONCE=1 GRID_DEMO_DIR=$dir DEMO_LISTEN=127.0.0.1:$port scripts/demo.sh | tee "$dir/shown"

expect() { # expect WHAT PATTERN COUNT: so many lines at least
    local found
    found=$(grep -cE -- "$2" "$dir/shown" || true)
    [[ $found -ge $3 ]] || {
        echo "the demo does not show $1: $found lines fit '$2', expected $3" >&2
        exit 1
    }
}
expect "the result" '^  M [5-8](\.[0-9])?  ' 5
expect "dead letters" ' fitted: .*the event has no rms' 5
expect "that metrics count dead letters" '^  ([0-9]+) dead letters; the metrics count \1$' 1
expect "that they were replayed" '^  ([0-9]+) of \1 records went through; 0 failed again$' 1
expect "what came of them" '^  M [12](\.[0-9])?  ' 5
expect "warnings, live" '^  [^ ]+Z  WARN   task-…-[2-4]  battery low' 5
expect "errors, live" '^  [^ ]+Z  ERROR  task-…-3  ERROR station 1 does not answer' 2
expect "the replica that was tried again" 'station-1 +COMPLETED +3 +2/3' 1
expect "its failures" '^  [^ ]+Z  TaskFailed$' 2
expect "its retries" '^  [^ ]+Z  RetryScheduled$' 2
expect "its end" '^  [^ ]+Z  TaskCompleted$' 1
expect "throughput" '^  [^ ]+Z  [0-9.]+ events/s$' 3
expect "commands to look further" "^  ([^ ]*grid logs -f --job job-|curl -s 'http://.*/api/v1/metrics\?)" 2
