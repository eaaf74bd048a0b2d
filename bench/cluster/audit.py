"""What was asked of the API server, by whom: read from its audit log.

Watches are counted only on request: they are no load of their own while they last, and each is asked for every five to
ten minutes.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec

ACCOUNT = "system:serviceaccount:"
OURS = f"{ACCOUNT}surefoot-system:surefoot"
PODS_USER = "bench:kubelet"
DRIVER = "admin"
COMPONENTS = {
    OURS: "Surefoot",
    PODS_USER: "kubelet's stand-in",
    DRIVER: "the measuring process",
    "system:apiserver": "kube-apiserver",
}
MANAGER = "kube-controller-manager"


class Asked(msgspec.Struct, frozen=True):
    """One kind of request: whose, the verb, and the resource with its subresource ("rollouts/status")."""

    component: str
    verb: str
    resource: str


class Audit:
    """An audit log that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def position(self) -> int:
        """Where the log ends now."""
        return self._path.stat().st_size

    def since(self, position: int) -> Counter[Asked]:
        """The requests that were answered after `position` of the log."""
        found: Counter[Asked] = Counter()
        with self._path.open("rb") as log:
            log.seek(position)
            for line in log:
                if line.endswith(b"\n"):
                    found[asked(json.loads(line))] += 1
        return found


def asked(event: dict[str, object]) -> Asked:
    """The kind of request that one event of the audit log tells of."""
    user, reference = event.get("user"), event.get("objectRef")
    name = str(user.get("username", "")) if isinstance(user, dict) else ""
    resource = ""
    if isinstance(reference, dict):
        parts = (reference.get("resource"), reference.get("subresource"))
        resource = "/".join(str(part) for part in parts if part)
    return Asked(component(name), str(event.get("verb", "")), resource)


def component(user: str) -> str:
    """Who works under this name."""
    known = COMPONENTS.get(user)
    if known is not None:
        return known
    return MANAGER if user.startswith((f"{ACCOUNT}kube-system:", "system:kube-")) else user


def counting(found: Counter[Asked]) -> Counter[Asked]:
    """Without watches, and without what the measurement itself asks."""
    left_out = {COMPONENTS[DRIVER]}
    return Counter(
        {
            one: number
            for one, number in found.items()
            if one.verb != "watch" and one.component not in left_out
        }
    )
