"""What a sandbox is asked to be. Light on imports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rollout.sandbox.state import DEFAULT_NAME, StateDirectory, state_directory


class ExtraCommand(msgspec.Struct, frozen=True):
    """A process that lives with the sandbox (the rollout controller): restarted with back-off when it dies.

    Its environment is the supervisor's, with KUBECONFIG, HTTP_PROXY and NO_PROXY of the sandbox, and `env`.
    It runs in `/`: give absolute paths.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}


class SandboxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `up` can be told. Ports of 0 are any free ones; paths are absolute or relative to here.

    `state`: the state directory ("" = the usual place for `name`). `data`: where the API server keeps all
    objects ("" = in memory). `images`: an images.yaml. `crds`: more directories with CRDs.
    """

    name: str = DEFAULT_NAME
    state: str = ""
    api_port: int = 0
    mesh_port: int = 0
    gateway_port: int = 0
    prometheus_port: int = 0
    data: str = ""
    images: str = ""
    strict_images: bool = False
    crds: tuple[str, ...] = ()
    commands: tuple[ExtraCommand, ...] = ()

    def directory(self) -> StateDirectory:
        """Raises SandboxError for a name that cannot be one."""
        return state_directory(self.name, Path(self.state) if self.state else None)

    def absolute(self) -> SandboxConfig:
        """The same with absolute paths, for a process that runs elsewhere."""
        return msgspec.structs.replace(
            self,
            state=str(self.directory().root),
            data=os.path.abspath(self.data) if self.data else "",  # noqa: PTH100 - keeps symbolic links
            images=os.path.abspath(self.images) if self.images else "",  # noqa: PTH100
            crds=tuple(os.path.abspath(path) for path in self.crds),  # noqa: PTH100
        )
