#!/usr/bin/env bash
# Starts everything in one process, runs a job over real data and shows what came of it, then keeps serving.
#
#   GRID_DEMO_DIR   the data folder (./demo-data)
#   DEMO_LISTEN     the address to serve on (127.0.0.1:8080)
#   DEMO_ONCE=1     end after the result
set -euo pipefail
cd "$(dirname "$0")/.."

grid=$PWD/target/release/grid
listen=${DEMO_LISTEN:-127.0.0.1:8080}
export GRID_SERVER=http://$listen

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[[ -t 1 ]] || say() { printf '\n%s\n' "$*"; }

# Postgres does not run as root: its user has to reach the folder.
reachable() {
    local dir
    dir=$(realpath "$1")
    while [[ $dir != / ]]; do
        dir=$(dirname "$dir")
        [[ $(stat -c %a "$dir") =~ [1357]$ ]] || return 1
    done
}
dir=${GRID_DEMO_DIR:-$PWD/demo-data}
if [[ $(id -u) -eq 0 && -z ${GRID_DEMO_DIR:-} ]] && ! reachable "$dir"; then
    dir=/var/tmp/grid-demo
    echo "Running as root, and $PWD is closed to others: the data folder is $dir"
fi
mkdir -p "$dir/output"
dir=$(realpath "$dir")
output=$dir/output
rm -f "$output"/*.ndjson

say "Starting grid standalone on $dir (its log: $dir/grid.log)"
"$grid" standalone --data-dir "$dir" --listen "$listen" --slots 4 \
    --allow-path "$PWD/tests/data" --allow-path "$output" 2>>"$dir/grid.log" &
server=$!

stop() { # stop STATUS
    trap - EXIT INT TERM
    kill -TERM "$server" 2>/dev/null || true
    if ! wait "$server"; then
        echo "grid did not end cleanly; the end of its log:" >&2
        tail -n 20 "$dir/grid.log" >&2
        exit 1
    fi
    exit "$1"
}
trap 'stop $?' EXIT
trap 'exit 0' INT TERM

begun=$SECONDS
until curl --silent --fail --max-time 2 "$GRID_SERVER/health/ready" >/dev/null; do
    if ! kill -0 "$server" 2>/dev/null || ((SECONDS - begun > 120)); then
        echo "grid did not become ready; the end of its log:" >&2
        tail -n 20 "$dir/grid.log" >&2
        exit 1
    fi
    sleep 0.1
done

# The documents name their folders by placeholders: absolute paths are this machine's own.
document() { sed -e "s|DATA_DIR|$PWD/tests/data|; s|OUTPUT_DIR|$output|" "demo/$1"; }

say "Submitting demo/host-facts.yaml: a program"
document host-facts.yaml | "$grid" submit -

say "Submitting demo/strong-earthquakes.yaml: a pipeline in four replicas, and a task that fails twice"
job=$(document strong-earthquakes.yaml | "$grid" submit - --watch --output json)
id=$(jq -r .jobId <<<"$job")
"$grid" job "$id"
"$grid" tasks "$id"

say "The result: earthquakes of magnitude 4 and more, one week of early 2018"
wc -l "$output"/strong-*.ndjson
cat "$output"/strong-*.ndjson | jq -rs 'sort_by(-.mag)[:5][] | "  M \(.mag)  \(.place)"'
found=$(cat "$output"/strong-*.ndjson | wc -l)
expected=$(jq -c 'select(.properties.mag >= 4)' tests/data/earthquakes.ndjson | wc -l)
echo "  $found records; jq alone finds $expected in tests/data/earthquakes.ndjson"
[[ $found -eq $expected ]] || exit 1

say "Where it came from"
events=$("$grid" events "$id" --output json)
task=task-${id#job-}-5 # the one that failed twice
echo "  input     $PWD/tests/data/earthquakes.ndjson ($(wc -l <tests/data/earthquakes.ndjson) records)"
echo "  job       $GRID_SERVER/api/v1/jobs/$id"
echo "  document  $GRID_SERVER/api/v1/jobs/$id/document"
echo "  history   $GRID_SERVER/api/v1/jobs/$id/events ($(jq '.items | length' <<<"$events") events)"
echo "  one task  $GRID_SERVER/api/v1/tasks/$task/events"
"$grid" events "$task" --oldest-first --output json | jq -r '.items[] | "              \(.at)  \(.type)"'
echo "  log       up to position $(jq -r '.items[0].position' <<<"$events")"

if [[ -n ${DEMO_ONCE:-} ]]; then
    say "Stopping"
    exit 0
fi
say "Serving on $GRID_SERVER until Ctrl-C. Try: target/release/grid jobs"
wait "$server"
