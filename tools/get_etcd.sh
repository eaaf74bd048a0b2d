#!/usr/bin/env bash
# Builds the etcd that the cluster tests run on, unless it is there, and prints its path: get_etcd.sh [--if-there]
#
# --if-there: builds nothing; exit code 3 when it is not there.
# Its version is the one of tests/cluster/etcd/go.mod. It goes into a cache outside of the project, by the checksum of
# what it is built from; building needs Go and takes about a minute on two cores. Debian's etcd is too old: it cannot
# be asked how far a watch is, which kube-apiserver's streaming lists need.
set -euo pipefail
module="$(cd "$(dirname "$0")/../tests/cluster/etcd" && pwd)"
wanted="$(cat "$module/go.mod" "$module/go.sum" "$module/main.go" "$0" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/surefoot/etcd/$wanted"
if [ ! -x "$folder/etcd" ]; then
    [ "${1:-}" != --if-there ] || exit 3
    command -v go >/dev/null || { echo "etcd is built with Go; install Go 1.26 or later" >&2; exit 1; }
    mkdir -p "$folder"
    echo "building etcd into $folder" >&2
    # Under another name until it is whole: several may build at once.
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder/etcd.$$" .) >&2
    mv "$folder/etcd.$$" "$folder/etcd"
fi
echo "$folder/etcd"
