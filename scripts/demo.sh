#!/usr/bin/env bash
# Starts everything in one process, runs jobs over real data, shows what came of them and how they are watched, then keeps
# serving.
#
#   GRID            the program (target/release/grid)
#   GRID_DEMO_DIR   the data folder (./demo-data)
#   DEMO_LISTEN     the address to serve on (127.0.0.1:8080)
#   DEMO_ONCE=1     try the commands that it names, and end
set -euo pipefail
cd "$(dirname "$0")/.."

name=${GRID:-target/release/grid}
grid=$(realpath "$name")
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
"$grid" standalone --data-dir "$dir" --listen "$listen" --slots 4 --set metrics.sample_interval=1s \
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

# Waits until what follows succeeds.
await() { # await SECONDS WHAT COMMAND…
    local begun=$SECONDS most=$1 what=$2
    shift 2
    until "$@"; do
        if ! kill -0 "$server" 2>/dev/null || ((SECONDS - begun > most)); then
            echo "$what: not within $most s; the end of grid's log:" >&2
            tail -n 20 "$dir/grid.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}
ready() { curl --silent --fail --max-time 2 "$GRID_SERVER/health/ready" >/dev/null; }
await 120 "grid is ready" ready

# The documents name their folders by placeholders: absolute paths are this machine's own.
document() { sed -e "s|DATA_DIR|$PWD/tests/data|; s|OUTPUT_DIR|$output|" "demo/$1"; }
# The sum of a metric over a job: sum METRIC JOB
sum() {
    curl --silent --fail "$GRID_SERVER/api/v1/metrics?metric=$1&aggregation=sum&interval=1d&tag.job_id=$2" |
        jq '[.dataPoints[].value] | add // 0 | round'
}
has() { [[ $(sum "$1" "$2") -eq $3 ]]; } # has METRIC JOB SUM

say "Submitting demo/host-facts.yaml: a program"
document host-facts.yaml | "$grid" submit -

say "Submitting demo/strong-earthquakes.yaml: a pipeline in four replicas"
earthquakes=$(document strong-earthquakes.yaml | "$grid" submit - --watch --output json | jq -r .jobId)
"$grid" tasks "$earthquakes"

say "The result: earthquakes of magnitude 4 and more, one week of early 2018"
wc -l "$output"/strong-*.ndjson
cat "$output"/strong-*.ndjson | jq -rs 'sort_by(-.mag)[:5][] | "  M \(.mag)  \(.place)"'
found=$(cat "$output"/strong-*.ndjson | wc -l)
expected=$(jq -c 'select(.properties | .mag >= 4 and .rms != null)' tests/data/earthquakes.ndjson | wc -l)
echo "  $found records; jq alone finds $expected in tests/data/earthquakes.ndjson"
[[ $found -eq $expected ]] || exit 1

say "Dead letters: records that failed, with the reason and the node (grid dead-letters)"
dead=$(cat "$output"/dead-*.ndjson | wc -l)
kept() { [[ $("$grid" dead-letters "$earthquakes" --output json | jq .kept) -eq $dead ]]; }
await 20 "the job keeps its $dead dead letters" kept
"$grid" dead-letters "$earthquakes" --size 100 --output json |
    jq -r '.items[] | "  \(.record.id)  \(.node): \(.error)"'
await 20 "the metrics count $dead dead letters" has dead_letters "$earthquakes" "$dead"
echo "  $dead dead letters; the metrics count $(sum dead_letters "$earthquakes")"

say "Replaying them with a mended document: what has no rms will do, and these are weak ones"
document strong-earthquakes.yaml |
    sed -e 's|!is_null(.properties.rms)|exists(.properties)|; s|>= 4|>= 1|' >"$dir/mended.yaml"
replay=$("$grid" dead-letters "$earthquakes" --replay --document "$dir/mended.yaml" --output json | jq -r .jobId)
replayed() { [[ $("$grid" job "$replay" --output json | jq -r .status) == COMPLETED ]]; }
await 30 "the replay has completed" replayed
cat "$output"/strong-*.replay-*.ndjson | jq -rs 'sort_by(-.mag)[] | "  M \(.mag)  \(.place)"'
mended=$(cat "$output"/strong-*.replay-*.ndjson | wc -l)
failed=$("$grid" dead-letters "$replay" --output json | jq .failed)
echo "  $mended of $dead records went through; $failed failed again"
[[ $mended -eq $dead && $failed -eq 0 ]] || exit 1

say "Submitting demo/sensors.yaml, and following what its tasks write (grid logs -f): a replica fails twice, and succeeds"
sensors=$(document sensors.yaml | "$grid" submit - --output json | jq -r .jobId)
station=task-${sensors#job-}-3
: >"$dir/tail"
"$grid" logs -f --job "$sensors" >>"$dir/tail" &
tail=$!
tail -n +1 -s 0.2 -f --pid="$tail" "$dir/tail" | sed -u -e "s/task-${sensors#job-}-/task-…-/; s/^/  /" &
shown=$!
finished() { [[ $("$grid" job "$sensors" --output json | jq -r .status) != RUNNING ]]; }
await 60 "the job has finished" finished
await 20 "its last line has come" grep -q "station 1 is read" "$dir/tail"
kill "$tail"
wait "$tail" "$shown" || true
"$grid" tasks "$sensors"

say "Its history: two attempts that failed, each with its retry, and one that completed"
"$grid" events "$station" --oldest-first --output json | jq -r '.items[] | "  \(.at)  \(.type)"'

say "Its throughput, from the metrics: records read by second"
await 20 "the metrics count 2500 records" has input_events "$sensors" 2500
rate="$GRID_SERVER/api/v1/metrics?metric=task_throughput&interval=1s&tag.job_id=$sensors"
curl --silent --fail "$rate" | jq -r '.dataPoints[] | "  \(.timestamp)  \(.value) events/s"'
most=$(curl --silent --fail "$rate" | jq '[.dataPoints[].value] | max')
echo "  $most events/s at most; the job's pipeline reads 500 a second"
jq -en "$most > 250 and $most < 1500" >/dev/null || exit 1

# Each can be pasted into a shell as it is.
further=(
    "$name logs -f --job $sensors"
    "$name logs --job $sensors --level warn,error"
    "$name logs --job $sensors --query 'station:1'"
    "$name explain $station"
    "$name events $earthquakes"
    "$name dead-letters $earthquakes"
    "$name dead-letters $earthquakes --export"
    "curl -s '$GRID_SERVER/api/v1/metrics?tag.job_id=$sensors&interval=1s'"
    "curl -s '$GRID_SERVER/api/v1/metrics?metric=dead_letters&aggregation=sum&tag.job_id=$earthquakes'"
    "curl -s '$GRID_SERVER/api/v1/logs/search?job_id=$sensors&level=ERROR'"
    "curl -s '$GRID_SERVER/api/v1/jobs/$earthquakes/document'"
    "curl -s '$GRID_SERVER/metrics'"
)
say "Look further"
[[ $listen == 127.0.0.1:8080 ]] || echo "  export GRID_SERVER=$GRID_SERVER"
printf '  %s\n' "${further[@]}"
echo "  $GRID_SERVER/api/docs and $GRID_SERVER/graphql in a browser"

if [[ -n ${DEMO_ONCE:-} ]]; then
    say "Trying these"
    for command in "${further[@]}"; do
        status=0
        timeout 3 bash -c "${command/#curl -s/curl --silent --fail}" >"$dir/tried" || status=$?
        # What follows the log does not end by itself, but at the end of its time.
        [[ $status -ne 124 || $command != *" -f "* ]] || status=0
        if [[ $status -ne 0 || ! -s $dir/tried ]]; then
            echo "$command: exit code $status" >&2
            exit 1
        fi
    done
    say "Stopping"
    exit 0
fi
say "Serving until Ctrl-C: open $GRID_SERVER in a browser"
wait "$server"
