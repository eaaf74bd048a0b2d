"""The files that Envoy follows: written beside and renamed, only when their content changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rollout.api.codec import encode
from rollout.sandbox.mesh.protobuf import Resource


def discovery(resources: list[Resource]) -> tuple[str, bytes]:
    """(version, bytes) of a DiscoveryResponse. The version is a digest of the content."""
    body = encode(resources)
    version = hashlib.sha256(body).hexdigest()[:16]
    return version, b'{"version_info":"%s","resources":%s}' % (version.encode(), body)


class Files:
    """Discovery files in one directory, and which version each has."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.versions: dict[str, str] = {}

    def write(self, name: str, resources: list[Resource]) -> str | None:
        """Write `name` unless it holds the same already. The version, or None when nothing changed."""
        version, body = discovery(resources)
        if self.versions.get(name) == version:
            return None
        path = self.directory / name
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(body)
        fresh.replace(path)
        self.versions[name] = version
        return version

    def forget(self, name: str) -> None:
        """Write `name` next time, even if its content is the same."""
        self.versions.pop(name, None)
