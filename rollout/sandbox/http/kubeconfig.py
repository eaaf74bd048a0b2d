"""A kubeconfig file for one sandbox: its own file, never the user's."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import yaml

from rollout.sandbox.http.private import write_private

NAME = "surefoot-sandbox"


def kubeconfig(address: str, authority: bytes, token: str, *, name: str = NAME) -> dict[str, Any]:
    """The kubeconfig (as data) for the server at `address`, trusting `authority` (PEM) alone."""
    cluster = {
        "server": address,
        "certificate-authority-data": b64encode(authority).decode(),
        # On loopback compressing costs more than it saves.
        "disable-compression": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, config: dict[str, Any]) -> None:
    """Writes `config` with mode 0600: it holds the token."""
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())
