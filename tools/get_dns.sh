#!/usr/bin/env bash
# Builds the CoreDNS that serves the names of a test cluster, unless it is there, and prints its path:
# get_dns.sh [--if-there]
#
# --if-there: builds nothing; exit code 3 when it is not there.
# Its version is the one of tests/cluster/dns/go.mod. It goes into a cache outside of the project, by the checksum of
# what it is built from; building needs Go and takes one to three minutes on two cores.
set -euo pipefail
module="$(cd "$(dirname "$0")/../tests/cluster/dns" && pwd)"
wanted="$(cat "$module/go.mod" "$module/go.sum" "$module/main.go" "$0" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/surefoot/dns/$wanted"
if [ ! -x "$folder/coredns" ]; then
    [ "${1:-}" != --if-there ] || exit 3
    command -v go >/dev/null || { echo "CoreDNS is built with Go; install Go 1.25 or later" >&2; exit 1; }
    mkdir -p "$folder"
    echo "building CoreDNS into $folder" >&2
    # Under another name until it is whole: several may build at once.
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder/coredns.$$" .) >&2
    mv "$folder/coredns.$$" "$folder/coredns"
fi
echo "$folder/coredns"
