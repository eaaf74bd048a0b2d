#!/usr/bin/env bash
# Builds the helm that lints and tests the charts, unless it is there, and prints its path: get_helm.sh [--if-there]
#
# --if-there: builds nothing; exit code 3 when it is not there.
# Its version is the one of tools/helm/go.mod. It goes into a cache outside of the project, by the checksum of what
# it is built from; building needs Go and takes about a minute on two cores.
set -euo pipefail
module="$(cd "$(dirname "$0")/helm" && pwd)"
wanted="$(cat "$module/go.mod" "$module/go.sum" "$0" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/surefoot/helm/$wanted"
if [ ! -x "$folder/helm" ]; then
    [ "${1:-}" != --if-there ] || exit 3
    command -v go >/dev/null || { echo "helm is built with Go; install Go 1.25 or later" >&2; exit 1; }
    mkdir -p "$folder"
    echo "building helm into $folder" >&2
    # Under another name until it is whole: several may build at once.
    # helm's own makefile says by linker flags which Kubernetes `helm template` assumes (else it is an old one).
    version="-X helm.sh/helm/v3/pkg/version.version=$(sed -n 's,.*helm.sh/helm/v3 \(v[0-9.]*\).*,\1,p' "$module/go.mod")"
    for package in lint/rules chartutil; do
        version+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=34"
    done
    (cd "$module" && go build -trimpath -ldflags "-s -w $version" -o "$folder/helm.$$" helm.sh/helm/v3/cmd/helm) >&2
    mv "$folder/helm.$$" "$folder/helm"
fi
echo "$folder/helm"
