#!/usr/bin/env bash
# Builds the program that holds the namespaces of a test cluster's pods, unless it is there, and prints its path:
# get_pause.sh [--if-there]
#
# --if-there: builds nothing; exit code 3 when it is not there. It goes into a cache outside of the project, by the
# checksum of what it is built from; building needs Go, and takes seconds.
set -euo pipefail
module="$(cd "$(dirname "$0")/pause" && pwd)"
wanted="$(cat "$module/go.mod" "$module/main.go" "$0" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/surefoot/pause/$wanted"
if [ ! -x "$folder/pause" ]; then
    [ "${1:-}" != --if-there ] || exit 3
    command -v go >/dev/null || { echo "pause is built with Go; install Go 1.24 or later" >&2; exit 1; }
    mkdir -p "$folder"
    # Under another name until it is whole: several may build at once.
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder/pause.$$" .) >&2
    mv "$folder/pause.$$" "$folder/pause"
fi
echo "$folder/pause"
