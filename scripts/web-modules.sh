#!/usr/bin/env bash
# The Node modules that tests/web needs, or those of the folder that is given, installed once for each lock file; with a
# Node of its own, in its bin/, where that of the system is older than its package.json asks for (20, where it does not say).
# Prints their folder.
set -euo pipefail
cd "$(dirname "$0")/../${1:-tests/web}"

folder=${XDG_CACHE_HOME:-$HOME/.cache}/grid/web-$(sha256sum package-lock.json | cut -c 1-16)
if [[ ! -d $folder ]]; then
    mkdir -p "$(dirname "$folder")"
    fresh=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    cp package.json package-lock.json "$fresh"
    (
        cd "$fresh"
        npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
        version=$(node --version | sed -n 's/^v\([0-9]*\).*/\1/p')
        wanted=$(sed -n 's/.*"node": ">=\([0-9]*\).*/\1/p' package.json)
        wanted=${wanted:-20}
        if ((version < wanted)); then
            arch=$(uname -m | sed -e s/x86_64/x64/ -e s/aarch64/arm64/)
            npm install --no-save --no-audit --no-fund --ignore-scripts "node-linux-$arch@$((wanted > 22 ? wanted : 22))"
        fi
    ) >&2
    # Another may have been quicker.
    mv -T "$fresh" "$folder" 2>/dev/null || [[ -d $folder ]]
fi
for own in "$folder"/node_modules/node-linux-*/bin; do
    [[ ! -d $own ]] || ln -sfnT "$own" "$folder/bin"
done
echo "$folder"
