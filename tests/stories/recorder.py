"""Events as a list, in the order in which they were told."""

from __future__ import annotations

from rollout.runtime.kube import Object


class PlainRecorder:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def event(self, obj: Object, reason: str, message: str, type: str = "Normal") -> None:
        self.told.append((reason, message))
