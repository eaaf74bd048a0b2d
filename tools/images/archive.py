"""Layers and archives as the OCI image specification has them (image-layout, manifest, config; version 1.1).

The same inputs give the same bytes: names are sorted, all times are `EPOCH`, owners are numbers.
`ctr images import`, `docker load` (25 or newer), `podman load` and `kind load image-archive` read the archives.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from tools.images.cache import checksum

EPOCH = 1704067200
"""The time of everything in an image, in seconds: 2024-01-01. See SOURCE_DATE_EPOCH of reproducible-builds.org."""
CREATED = "2024-01-01T00:00:00Z"

CODE = Path(__file__).read_bytes()
"""Part of the key of every layer: another way to write one makes another layer."""

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Config:
    """How a container of an image starts, if its pod says nothing else."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The field `config` of an image configuration; what is empty is left out."""
        said = {
            "Cmd": list(self.command),
            "Entrypoint": list(self.entrypoint),
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "ExposedPorts": {port if "/" in port else f"{port}/tcp": {} for port in self.ports},
            "Labels": dict(self.labels),
            "User": self.user,
            "WorkingDir": self.folder,
        }
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True)
class Image:
    """One image of an archive: its whole reference, its layers from the bottom up, its configuration."""

    reference: str
    layers: tuple[Path, ...]
    config: Config


def write_layer(target: Path, root: Path, names: Iterable[str]) -> None:
    """A layer with these files, links and folders of `root`; names are relative to it."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer:
        for name in sorted(names):
            entry = layer.gettarinfo(root / name, arcname=name)
            entry.mtime = EPOCH
            entry.uname = entry.gname = ""
            entry.mode &= ~0o6000  # nobody becomes somebody else by running a file
            if entry.isreg():
                with (root / name).open("rb") as file:
                    layer.addfile(entry, file)
            else:
                layer.addfile(entry)


def below(root: Path, start: str = "") -> set[str]:
    """The names of everything below `start` in `root`, itself included, relative to `root`. Links are not followed."""
    found = {start} if start else set()
    for path in (root / start).iterdir():
        name = str(path.relative_to(root))
        found |= below(root, name) if path.is_dir() and not path.is_symlink() else {name}
    return found


def write_archive(target: Path, images: Sequence[Image], architecture: str) -> None:
    """An OCI image layout as one tar file. Layers that images share are in it once."""
    blobs: dict[str, Path | bytes] = {}
    entries: list[dict[str, Any]] = []
    for image in images:
        layers = []
        for path in image.layers:
            digest = checksum(path)
            blobs[digest] = path
            layers.append(_descriptor(_LAYER, digest, path.stat().st_size))
        config = _put(blobs, _CONFIG, _configuration(image, architecture, layers))
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        # The first name is containerd's, the second one the specification's.
        names = {
            "io.containerd.image.name": image.reference,
            "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
        }
        platform = {"architecture": architecture, "os": "linux"}
        entries.append(_put(blobs, _MANIFEST, manifest) | {"annotations": names, "platform": platform})
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}))
        for digest in sorted(blobs):
            _add(archive, f"blobs/sha256/{digest}", blobs[digest])


def _configuration(image: Image, architecture: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": image.config.as_json(),
        # The layers are not compressed, so that their digests are those of their content.
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }


def _put(blobs: dict[str, Path | bytes], kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """Keeps a document among the blobs; what refers to it."""
    data = _json(content)
    digest = sha256(data).hexdigest()
    blobs[digest] = data
    return _descriptor(kind, digest, len(data))


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = EPOCH
    entry.mode = 0o644
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as file:
        archive.addfile(entry, file)
