"""Where the Prometheus server comes from. `python -m rollout.sandbox.prometheus.install` gets it if need be.

Nothing is downloaded but by `ensure_prometheus`, which `sandbox up` and the Makefile call.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rollout.errors import SandboxError

DOWNLOAD_SECONDS = 300
_HELP = {
    "Darwin": "Install it: brew install prometheus. Or set PROMETHEUS_PATH to the binary.",
    "Linux": "Install Prometheus 2.40 or newer so that `prometheus` is on PATH, or set PROMETHEUS_PATH to the binary.",
}

Progress = Callable[[str], None]


def cache_directory() -> Path:
    """$XDG_CACHE_HOME/surefoot/prometheus, by default below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surefoot" / "prometheus"


def find_prometheus() -> Path | None:
    """$PROMETHEUS_PATH, `prometheus` on PATH, or what `ensure_prometheus` fetched before; None if nowhere.

    Raises SandboxError if PROMETHEUS_PATH is set to something that cannot be run.
    """
    if own := os.environ.get("PROMETHEUS_PATH"):
        if os.access(own, os.X_OK) and Path(own).is_file():
            return Path(own)
        raise SandboxError(f"PROMETHEUS_PATH is {own}, which cannot be run; correct or unset it")
    if on_path := shutil.which("prometheus"):
        return Path(on_path)
    cached = cache_directory() / "prometheus"
    return cached if os.access(cached, os.X_OK) else None


def require_prometheus() -> Path:
    """As `find_prometheus`; SandboxError with the way out when there is none."""
    found = find_prometheus()
    if found is None:
        raise SandboxError(f"Prometheus is missing. {_way_out()}")
    return found


def ensure_prometheus(progress: Progress = lambda _line: None) -> Path:
    """The server's path; on Debian and Ubuntu fetched from the system's package archive if missing.

    The package is unpacked into the user's cache, not installed: no root is needed, only package lists.
    Raises SandboxError with the way out.
    """
    if found := find_prometheus():
        return found
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SandboxError(f"Prometheus is missing. {_way_out()}")
    target = cache_directory()
    target.mkdir(parents=True, exist_ok=True)
    progress(f"fetching the package prometheus (about 20 MB) into {target}")
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        _run(["apt-get", "download", "-q", "prometheus"], scratch)
        packages = sorted(Path(scratch).glob("prometheus_*.deb"))
        if not packages:
            raise SandboxError(f"apt-get download prometheus left no package behind. {_way_out()}")
        _run(["dpkg-deb", "-x", str(packages[0]), "unpacked"], scratch)
        binary = Path(scratch) / "unpacked" / "usr" / "bin" / "prometheus"
        if not binary.is_file():
            raise SandboxError(f"the package {packages[0].name} has no usr/bin/prometheus. {_way_out()}")
        binary.replace(target / "prometheus")
    return target / "prometheus"


def _run(argv: list[str], directory: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            argv, cwd=directory, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{' '.join(argv)} took longer than {DOWNLOAD_SECONDS} s. {_way_out()}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise SandboxError(
            f"{' '.join(argv)} failed: {last[0]}. If the package lists are old or missing: sudo apt-get update. "
            + _way_out()
        )


def _way_out() -> str:
    return _HELP.get(platform.system(), _HELP["Linux"])


def main() -> int:
    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        path = ensure_prometheus(say)
    except SandboxError as error:
        say(f"error: {error}")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
