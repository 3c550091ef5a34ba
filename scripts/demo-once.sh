#!/usr/bin/env bash
# The demo as a test: in a folder and on a port of its own, ended after the result.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d /tmp/grid-demo.XXXXXX)
trap 'rm -rf "$dir"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
DEMO_ONCE=1 GRID_DEMO_DIR=$dir DEMO_LISTEN=127.0.0.1:$port scripts/demo.sh
