"""Events as a list, in the order in which they were told."""

from __future__ import annotations

from rollout.runtime.kube import Object


class PlainRecorder:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def emit(self, about: Object, type: str, reason: str, message: str) -> None:
        self.told.append((reason, message))
