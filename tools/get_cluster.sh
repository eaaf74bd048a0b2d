#!/usr/bin/env bash
# Gets everything that the tests on a real cluster need and that is not there yet: get_cluster.sh [PYTHON]
#
# Debian packages (by apt-get, as root), Kubernetes, etcd, CoreDNS, the pause program, Envoy Gateway and helm (built with Go),
# and images (made with mmdebstrap, as root). The first time takes about ten minutes on two cores; then seconds.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${1:-.venv/bin/python}"
packages=(
    busybox-static conntrack containerd containernetworking-plugins iptables mmdebstrap runc
)

say() { printf 'cluster: %s\n' "$*" >&2; }
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    say "installing ${missing[*]}"
    apt-get update -qq >&2
    # What they would start by themselves is not wanted here; the tests start their own.
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
fi
for script in get_kubernetes get_etcd get_dns get_pause get_gateway get_helm; do
    "$here/$script.sh" >/dev/null
done
say "images"
"$python" -m tools.images controller load injector demo prometheus envoy gateway >/dev/null
