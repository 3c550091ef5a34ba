#!/usr/bin/env bash
# Prints the folder of a Python environment with tests/python/requirements.txt, which is made when it is not there. It is
# named by the hash of that file and the version of Python, and kept in ~/.cache/grid; one call at a time makes it.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tests/python/requirements.txt
hash=$({ python3 --version && cat "$requirements"; } | sha256sum | cut -c 1-16)
cache=$HOME/.cache/grid
folder=$cache/venv-$hash

mkdir -p "$cache"
exec 9>"$cache/venv.lock"
flock 9
if [[ ! -e $folder/.complete ]]; then
    rm -rf "$folder"
    python3 -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
    touch "$folder/.complete"
fi
echo "$folder"
