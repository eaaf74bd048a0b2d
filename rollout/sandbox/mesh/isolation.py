"""One user's bad route must not stop everybody's changes: who is held back when Envoy refuses. Pure.

Envoy refuses a route configuration as a whole. What has been accepted before is kept for each object that
may carry a user's mistake; after a refusal the changed ones are tried one at a time over that, and those
that are refused are held back at their last accepted version until they change again.
"""

from __future__ import annotations

import msgspec

from rollout.api.meta import Key, Object, key_of, metadata
from rollout.sandbox.mesh.model import Snapshot

Name = tuple[str, Key]
"""Field of Snapshot and key."""

POLICIES = ("virtual_services", "destination_rules", "http_routes", "envoy_filters")


class Held(msgspec.Struct, frozen=True):
    resource_version: str
    reason: str


class Isolation(msgspec.Struct):
    """What Envoy has accepted of each policy object, and what is held back."""

    accepted: dict[Name, Object] = {}
    held: dict[Name, Held] = {}

    def admit(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with held objects replaced by what was accepted of them before."""
        present = _policies(snapshot)
        self.held = {
            name: held
            for name, held in self.held.items()
            if name in present and _version(present[name]) == held.resource_version
        }
        return self._compose(snapshot, {name: obj for name, obj in present.items() if name not in self.held})

    def accept(self, snapshot: Snapshot) -> None:
        """Envoy uses `snapshot` (as `admit` or `trials` gave it)."""
        self.accepted = _policies(snapshot)

    def suspects(self, snapshot: Snapshot) -> list[Name]:
        """The policy objects that differ from what was accepted, oldest change first."""
        present = _policies(snapshot)
        changed = [
            name
            for name, obj in present.items()
            if name not in self.held
            and (name not in self.accepted or _version(self.accepted[name]) != _version(obj))
        ]
        return sorted(changed, key=lambda name: (_number(_version(present[name])), name))

    def trial(self, snapshot: Snapshot, names: list[Name]) -> Snapshot:
        """`snapshot` with only `names` new; every other policy object as it was accepted before."""
        present = _policies(snapshot)
        return self._compose(snapshot, {name: present[name] for name in names})

    def hold(self, snapshot: Snapshot, name: Name, reason: str) -> None:
        self.held[name] = Held(_version(_policies(snapshot)[name]), reason)

    def _compose(self, snapshot: Snapshot, fresh: dict[Name, Object]) -> Snapshot:
        present = _policies(snapshot)
        old = {name: obj for name, obj in self.accepted.items() if name in present}
        chosen = old | fresh
        return msgspec.structs.replace(
            snapshot,
            **{
                field: tuple(
                    obj
                    for (kind, _), obj in sorted(chosen.items(), key=lambda item: item[0])
                    if kind == field
                )
                for field in POLICIES
            },
        )


def _policies(snapshot: Snapshot) -> dict[Name, Object]:
    return {(field, key_of(obj)): obj for field in POLICIES for obj in getattr(snapshot, field)}


def _version(obj: Object) -> str:
    return str(metadata(obj).get("resourceVersion") or "")


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0
