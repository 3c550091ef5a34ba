#!/usr/bin/env bash
# Prints the path of cargo-cyclonedx, which writes the bill of materials of a release; installed once into ~/.cache/grid.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.5.9
folder=${XDG_CACHE_HOME:-$HOME/.cache}/grid/cargo-cyclonedx-$version
if [[ ! -x $folder/bin/cargo-cyclonedx ]]; then
    cargo install --quiet --locked --root "$folder" "cargo-cyclonedx@$version" >&2
fi
echo "$folder/bin/cargo-cyclonedx"
