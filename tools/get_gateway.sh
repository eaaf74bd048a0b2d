#!/usr/bin/env bash
# Builds the Envoy Gateway that the cluster tests use, unless it is there, and prints its path: get_gateway.sh [--if-there]
#
# --if-there: builds nothing; exit code 3 when it is not there.
# Its version is the one of tests/cluster/gateway/go.mod. It goes into a cache outside of the project, by the checksum
# of what it is built from; building needs Go and takes about three minutes on two cores.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
module="$here/../tests/cluster/gateway"
wanted="$(cat "$module/go.mod" "$module/go.sum" "$0" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/surefoot/gateway/$wanted"
if [ ! -x "$folder/envoy-gateway" ]; then
    [ "${1:-}" != --if-there ] || exit 3
    command -v go >/dev/null || { echo "Envoy Gateway is built with Go; install Go 1.26 or later" >&2; exit 1; }
    mkdir -p "$folder"
    echo "building Envoy Gateway into $folder (about three minutes)" >&2
    # Under another name until it is whole: several may build at once.
    partial="$folder/envoy-gateway.$$"
    trap 'rm -f "$partial"' EXIT
    package=github.com/envoyproxy/gateway
    # Its own makefile says the version by linker flags.
    version="$(sed -n "s,.*$package \(v[0-9.]*\).*,\1,p" "$module/go.mod")"
    flags="-s -w -X $package/internal/cmd/version.envoyGatewayVersion=$version"
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$partial" "$package/cmd/envoy-gateway") >&2
    mv "$partial" "$folder/envoy-gateway"
fi
echo "$folder/envoy-gateway"
