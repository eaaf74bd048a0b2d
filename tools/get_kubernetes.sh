#!/usr/bin/env bash
# Builds the Kubernetes that the cluster tests run on, unless it is there, and prints the folder of its programs:
# get_kubernetes.sh [--if-there]
#
# kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl, of the version in
# tests/cluster/go.mod. --if-there: builds nothing; exit code 3 when they are not there.
# They go into a cache outside of the project, by the checksum of what they are built from. Building needs Go and takes
# about five minutes on two cores.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
module="$here/../tests/cluster"
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
wanted="$(cat "$module/go.mod" "$module/go.sum" "$0" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/surefoot/kubernetes/$wanted"
if [ ! -x "$folder/kubectl" ]; then
    [ "${1:-}" != --if-there ] || exit 3
    command -v go >/dev/null || { echo "Kubernetes is built with Go; install Go 1.25 or later" >&2; exit 1; }
    # Under another name until it is whole: several may build at once.
    partial="$folder.$$"
    mkdir -p "$partial"
    trap 'rm -rf "$partial"' EXIT
    echo "building Kubernetes into $folder (about five minutes)" >&2
    version="$(sed -n 's,.*k8s.io/kubernetes \(v[0-9.]*\).*,\1,p' "$module/go.mod" | head -1)"
    # Kubernetes' own makefile says its version by linker flags; clients and the kubelet read it.
    IFS=. read -r major minor _ <<<"${version#v}"
    flags="-s -w"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
        flags+=" -X $package.gitTreeState=clean -X $package.gitCommit=surefoot -X $package.buildDate=1970-01-01T00:00:00Z"
    done
    packages=("${programs[@]/#/k8s.io/kubernetes/cmd/}")
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$partial/" "${packages[@]}") >&2
    if ! mv -T "$partial" "$folder" 2>/dev/null; then
        [ -x "$folder/kubectl" ] || { echo "cannot write $folder" >&2; exit 1; }
    fi
fi
echo "$folder"
