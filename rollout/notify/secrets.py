"""The Secret behind the services: read by name when something is sent, never listed and never watched."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from rollout.api.resources import SECRETS
from rollout.errors import NotFound
from rollout.notify.config import SECRET_NAME
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube

KEPT_SECONDS = 30.0
"""How long what was read is used again: a wave of messages asks once."""


class Secrets:
    """The Secret in one namespace."""

    def __init__(self, kube: Kube, clock: Clock, namespace: str) -> None:
        self._kube = kube
        self._clock = clock
        self._namespace = namespace
        self._known: dict[str, str] = {}
        self._until = 0.0

    async def all(self, needed: Iterable[str]) -> Mapping[str, str]:
        """All that it holds; read again after a while, and when one that is `needed` is not there. Raises ApiError."""
        missing = any(name not in self._known for name in needed)
        if missing or self._clock.monotonic() >= self._until:
            self._known = await self._read()
            self._until = self._clock.monotonic() + KEPT_SECONDS
        return self._known

    async def _read(self) -> dict[str, str]:
        try:
            found = await self._kube.get(SECRETS, self._namespace, SECRET_NAME)
        except NotFound:
            return {}
        return texts(found.get("data") or {})


def texts(data: Mapping[str, Any]) -> dict[str, str]:
    """The values of a Secret that are text; a line end at their end, which editors leave, is taken away."""
    found = {}
    for name, value in data.items():
        try:
            found[name] = base64.b64decode(str(value)).decode().rstrip("\r\n")
        except ValueError:
            continue
    return found
