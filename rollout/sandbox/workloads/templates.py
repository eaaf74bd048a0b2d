"""When two pod templates are the same, and the short name of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rollout.sandbox.workloads.decision import SAFE_ALPHABET
from rollout.sandbox.workloads.pods import HASH_LABEL

_LENGTH = 9


def same_template(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two templates make the same pods; the hash label of ours does not count."""
    return _plain(a) == _plain(b)


def template_hash(template: Mapping[str, Any], collisions: int = 0) -> str:
    """A name for a template, in the letters Kubernetes uses; `collisions` gives another one for the same."""
    text = json.dumps([_plain(template), collisions], sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    letters = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(SAFE_ALPHABET))
        letters.append(SAFE_ALPHABET[rest])
    return "".join(letters)


def _plain(template: Mapping[str, Any]) -> dict[str, Any]:
    meta = template.get("metadata") or {}
    labels = {name: value for name, value in (meta.get("labels") or {}).items() if name != HASH_LABEL}
    rest = {
        name: value for name, value in meta.items() if name not in {"labels", "creationTimestamp"} and value
    }
    return {"metadata": {**rest, "labels": labels}, "spec": template.get("spec") or {}}
