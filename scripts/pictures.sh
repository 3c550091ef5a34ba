#!/usr/bin/env bash
# Takes the pictures of README and docs anew, of a standalone that is started for that and runs jobs for a minute: into
# docs/images, or the folder that is given.
#
#   GRID   the program, with its page in it (target/release/grid)
set -euo pipefail
cd "$(dirname "$0")/.."

grid=$(realpath "${GRID:-target/release/grid}")
pictures=${1:-docs/images}
modules=$(scripts/web-modules.sh)
PATH=$modules/bin:$PATH
GRID_CHROMIUM=${GRID_CHROMIUM:-$(command -v chromium)}
listen=127.0.0.1:${PICTURES_PORT:-18099}

# Postgres does not run as root: its user has to reach the folder.
dir=$(mktemp -d /var/tmp/grid-pictures.XXXXXX)
chmod 755 "$dir"
"$grid" standalone --data-dir "$dir/data" --listen "$listen" --slots 8 --set metrics.sample_interval=1s 2>"$dir/log" &
server=$!
stop() {
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" || true
    rm -rf "$dir"
}
trap stop EXIT
begun=$SECONDS
until curl --silent --fail --max-time 2 "http://$listen/health/ready" >/dev/null; do
    if ! kill -0 "$server" 2>/dev/null || ((SECONDS - begun > 120)); then
        tail -n 20 "$dir/log" >&2
        exit 1
    fi
    sleep 0.2
done

GRID_URL=http://$listen GRID_WEB_MODULES=$modules GRID_CHROMIUM=$GRID_CHROMIUM GRID_UI_PICTURES=$pictures \
    node --test --test-timeout=240000 tests/web/ui/pictures.test.mjs
ls -l "$pictures"
