"""What a cluster needs of the machine, and which of it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
CNI = Path("/usr/lib/cni")
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "busybox": "busybox-static",
}
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
BUILT = {
    "Kubernetes": "get_kubernetes.sh",
    "etcd": "get_etcd.sh",
    "pause": "get_pause.sh",
    "CoreDNS": "get_dns.sh",
}


def missing() -> list[str]:
    """What is missing and how to get it, a line each; nothing is built or downloaded here."""
    found = [] if os.geteuid() == 0 else ["a cluster needs root: it makes namespaces, mounts and cgroups"]
    packages = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if not all((CNI / plugin).exists() for plugin in PLUGINS):
        packages.add("containernetworking-plugins")
    if packages:
        found.append(f"programs are missing: apt-get install {' '.join(sorted(packages))}")
    found += [
        f"{what} has not been built: tools/{script}" for what, script in BUILT.items() if not built(script)
    ]
    return found


def built(script: str) -> Path | None:
    """What that script under tools/ builds, if it is there already."""
    done = subprocess.run(
        [ROOT / "tools" / script, "--if-there"], check=False, capture_output=True, text=True
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def required(script: str) -> Path:
    found = built(script)
    if found is None:
        raise RuntimeError(f"tools/{script} has not been run")
    return found
