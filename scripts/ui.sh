#!/usr/bin/env bash
# Builds the web page into src/ui/dist, from which it is embedded in the program. What has not changed is not touched, so
# that the program is not built anew for nothing.
#
#   scripts/ui.sh          builds it, when something has changed
#   scripts/ui.sh --check  checks types and style, and runs the tests beside the code, as well
#   scripts/ui.sh --maybe  where it cannot be built, only says what is missing, and leaves it out
set -euo pipefail
cd "$(dirname "$0")/.."

how=${1:-}

without() { # without WHY
    echo "ui: $1" >&2
    [[ $how == --maybe ]] || exit 1
    echo "ui: going on without the page; make ui builds it later" >&2
    exit 0
}
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    without "the web page needs Node with npm to be built: https://nodejs.org, or make setup"
fi
modules=$(scripts/web-modules.sh src/ui) || without "the modules that the web page is built with cannot be had"
PATH=$modules/bin:$PATH
cd src/ui
# Modules that somebody installed here by hand are used as they are.
[[ -d node_modules && ! -L node_modules ]] || ln -sfnT "$modules/node_modules" node_modules

inputs() {
    cat package.json package-lock.json ./*.ts index.html .oxlintrc.json tsconfig.json ../../schema/schema.graphql
    find app -type f -not -path 'app/gen/*' | LC_ALL=C sort | xargs cat
    find app -type f -not -path 'app/gen/*' | LC_ALL=C sort
}
sum=$(inputs | sha256sum | cut -c 1-32)
stamp=../../target/ui.sum
known=$(cat "$stamp" 2>/dev/null || true)
if [[ $known == "$sum" && -f dist/index.html.gz && $how != --check ]]; then
    echo "ui: the page is there already"
    exit 0
fi

node_modules/.bin/graphql-codegen --config codegen.ts --silent
if [[ $how == --check ]]; then
    node_modules/.bin/tsc --noEmit
    node_modules/.bin/oxlint --deny-warnings
    node --no-warnings --experimental-strip-types --test --test-reporter=dot "app/**/*.test.ts"
fi
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
GRID_UI_OUT=$built/dist node_modules/.bin/vite build --logLevel warn
# Names hold the hashes of what is in them: equal names are equal files, but for index.html.
mkdir -p dist/assets ../../target
for old in dist/assets/*; do
    [[ -e $built/$old ]] || rm -f "$old"
done
(cd "$built" && find dist -type f) | while read -r file; do
    cmp -s "$built/$file" "$file" || cp "$built/$file" "$file"
done

# What a browser loads before it shows anything, compressed.
most=300000
first=$(wc -c <dist/index.html.gz)
for file in $(zcat dist/index.html.gz | grep -o 'assets/[^"]*'); do
    first=$((first + $(wc -c <"dist/$file.gz")))
done
echo "ui: built; the first load has $first bytes"
if ((first > most)); then
    echo "ui: that is more than $most: load what not everybody needs when it is wanted (import())" >&2
    exit 1
fi
echo "$sum" >"$stamp"
