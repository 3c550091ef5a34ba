#!/bin/bash
# Whether the process of this container is ready: 0 when /health/ready answers with 200. By bash alone, since the image has
# no HTTP client. A port may be given; the default is GRID_HEALTH_PORT, else 8080.
set -euo pipefail
port=${1:-${GRID_HEALTH_PORT:-8080}}
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$port" >&3
read -r -t 4 _ status _ <&3
[[ $status == 200 ]] || {
    echo "grid-health: /health/ready at port $port answers ${status:-nothing}" >&2
    exit 1
}
