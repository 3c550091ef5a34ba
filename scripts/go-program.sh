# shellcheck shell=bash
# Sourced: a program for the tests, built once of its released sources through Go's module proxy.

# go_program NAME VERSION PROGRAM GO GIVEN: prints the path of PROGRAM, or of GIVEN, one that is there already. It is kept in
# the folder NAME-VERSION of the cache. GO is the oldest that builds it; the function `build` does, in the folder that it is
# called with.
go_program() {
    local name=$1 version=$2 program=$3 oldest=$4 given=$5
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/grid/$name-$version
    if [[ -n $given ]]; then
        echo "$given"
        return
    fi
    if [[ ! -x $folder/$program ]]; then
        if ! command -v go >/dev/null; then
            echo "$name: Go is missing ($oldest or later, https://go.dev/dl): without it $name cannot be built" >&2
            return 1
        fi
        mkdir -p "$(dirname "$folder")"
        fresh=$(mktemp -d "$folder.XXXXXX")
        trap 'rm -rf "$fresh"' EXIT
        (build "$fresh" "$version") >&2
        # Another may have been quicker.
        mv -T "$fresh" "$folder" 2>/dev/null || [[ -x $folder/$program ]]
    fi
    echo "$folder/$program"
}
