#!/usr/bin/env bash
# Tries the API of a real standalone with what schemathesis makes of its description: it must find nothing. In a folder
# and on a port of its own; what the server said is shown when something was found.
set -euo pipefail
cd "$(dirname "$0")/.."

grid=${GRID:-target/release/grid}
python=$(scripts/venv.sh)
dir=$(mktemp -d /tmp/grid-schemathesis.XXXXXX)
# The private Postgres runs as another user when this runs as root.
chmod 755 "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port

"$grid" standalone --data-dir "$dir/data" --listen "127.0.0.1:$port" --set auth.anonymous_role=none 2>"$dir/log" &
server=$!
finish() {
    local code=$?
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    [[ $code -eq 0 ]] || tail -n 20 "$dir/log" >&2
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT

for _ in $(seq 600); do
    kill -0 "$server" || exit 1
    curl --silent --fail --output /dev/null "$url/health/ready" && break
    sleep 0.1
done

token() { # token ROLE
    "$grid" token create --role "$1" --expires 1d --data-dir "$dir/data" --output json | jq -r .token
}
GRID_TOKEN=$(token admin)
GRID_WORKER_TOKEN=$(token worker)
GRID_TIMELINE=$(curl --silent --fail --header "Authorization: Bearer $GRID_TOKEN" "$url/api/v1/info" | jq -r .timeline)
export GRID_TOKEN GRID_WORKER_TOKEN GRID_TIMELINE

"$python/bin/schemathesis" --config-file tests/python/schemathesis.toml run "$url/api/openapi.json" \
    --max-examples "${EXAMPLES:-4}" "$@"
