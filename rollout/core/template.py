"""The identity of a revision: the pod-template hash, and when two templates mean the same pods.

A ReplicaSet belongs to a Rollout's template when the two are equivalent, whatever its hash label says: the
label was written by another release, or by Argo Rollouts, whose hash has changed between versions and
re-rolled whole clusters (study/argo-rollouts.md 2.5). The hash only names new ReplicaSets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import msgspec

from rollout.api.rollout import HASH_LABEL
from rollout.core.gojson import pod_template

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash (RFC 9923)."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """`text` in letters and digits that make no words, as Kubernetes writes hashes in names."""
    return "".join(_ALPHABET[ord(char) % len(_ALPHABET)] for char in text)


def hash_of(value: Any, collision_count: int | None = None) -> str:
    """A short name-safe hash of plain JSON data; independent of key order and of absent-or-empty fields."""
    data = json.dumps(_bare(value), sort_keys=True, separators=(",", ":")).encode()
    if collision_count:
        data += collision_count.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))


def template_hash(template: Mapping[str, Any], collision_count: int | None = None) -> str:
    """The pod-template hash of a new ReplicaSet for `template` as it stands in the Rollout, without defaults.

    It is the one of Argo Rollouts 1.10: FNV-1a over Go's JSON of the typed template and, when there is one, the
    collision count as eight bytes (study/argo-rollouts.md 2.5). Fields that are newer than our table of types are
    not lost: they count, though not as a release of Argo that knows them would count them (`gojson`).
    """
    data = pod_template(without_hash(template))
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))


def without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template without our own label, as the user wrote it."""
    meta = dict(template.get("metadata") or {})
    if labels := {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}:
        meta["labels"] = labels
    else:
        meta.pop("labels", None)
    return {**template, "metadata": meta}


def equivalent(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Whether a `live` pod template (defaulted by the API server) is `wanted` (as the user wrote it).

    Every field of one must equal that of the other, save that a field absent from one side may have the API's
    default on the other. Absent, null, "", [] and {} are the same.
    """
    return _alike(msgspec.json.encode(wanted), msgspec.json.encode(live))


@lru_cache(maxsize=1024)
def _alike(wanted: bytes, live: bytes) -> bool:
    """The same few pairs are asked about at every look."""
    return _same(_prepared(wanted), _prepared(live), "")


@lru_cache(maxsize=1024)
def _prepared(template: bytes) -> dict[str, Any]:
    """A template made ready to be compared. The same few are asked about at every look."""
    return _host_ports(_bare(without_hash(msgspec.json.decode(template))))


# Values that the API server fills into a pod template (k8s.io/api core/v1 defaulting), by field name.
_DEFAULTS: dict[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "protocol": "TCP",
    "scheme": "HTTP",
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
    "timeoutSeconds": 1,
    "defaultMode": 420,
    "apiVersion": "v1",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "procMount": "Default",
    "expirationSeconds": 3600,
}
# Maps whose keys are the user's own words.
_FREE = frozenset({"labels", "annotations", "nodeSelector", "matchLabels"})


def _bare(value: Any) -> Any:
    """Plain data without null and empty members."""
    if isinstance(value, Mapping):
        members = {key: _bare(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in (None, "", [], {})}
    if isinstance(value, list | tuple):
        return [_bare(member) for member in value]
    return value


def _host_ports(template: dict[str, Any]) -> dict[str, Any]:
    """On the host's network every port is a host port of the same number, said or not."""
    spec = template.get("spec")
    if not isinstance(spec, dict) or not spec.get("hostNetwork"):
        return template

    def said(container: Any) -> Any:
        if not isinstance(container, dict) or not isinstance(container.get("ports"), list):
            return container
        ports = [
            {"hostPort": port["containerPort"], **port}
            if isinstance(port, dict) and "containerPort" in port
            else port
            for port in container["ports"]
        ]
        return {**container, "ports": ports}

    lists = ("containers", "initContainers", "ephemeralContainers")
    changed = {key: [said(one) for one in spec[key]] for key in lists if isinstance(spec.get(key), list)}
    return {**template, "spec": {**spec, **changed}}


def _same(one: Any, other: Any, inside: str) -> bool:
    """Whether two values of the field `inside` mean the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        if inside in _FREE:
            return bool(one == other)
        if inside == "resources":
            one, other = _asked(one), _asked(other)
        return all(_same_field(key, one, other, inside) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b, inside) for a, b in zip(one, other, strict=True))
    if inside == "sizeLimit":
        return bool(_amount(one) == _amount(other))
    return type(one) is type(other) and bool(one == other)


def _same_field(key: str, one: dict[str, Any], other: dict[str, Any], inside: str) -> bool:
    if key in one and key in other:
        return _same(one[key], other[key], key)
    has, lacks = (one, other) if key in one else (other, one)
    value = has[key]
    if key == "serviceAccount":  # the deprecated twin of serviceAccountName
        return value in (one.get("serviceAccountName"), other.get("serviceAccountName"))
    if key == "serviceAccountName":
        return bool(value == lacks.get("serviceAccount"))
    if key == "imagePullPolicy":
        return bool(value == _pull_policy(str(lacks.get("image", ""))))
    if key == "path" and inside == "httpGet":
        return bool(value == "/")
    default = _DEFAULTS.get(key)
    return type(value) is type(default) and bool(value == default)


def _pull_policy(image: str) -> str:
    """Always for an image without tag and digest, or with the tag latest."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _asked(resources: dict[str, Any]) -> dict[str, Any]:
    """A container's resources as amounts; what is limited and not requested is requested as much."""
    limits, requests = resources.get("limits"), resources.get("requests")
    if not isinstance(limits or {}, dict) or not isinstance(requests or {}, dict):
        return resources
    top = {name: _amount(value) for name, value in (limits or {}).items()}
    return {
        **resources,
        "limits": top,
        "requests": {**top, **{name: _amount(value) for name, value in (requests or {}).items()}},
    }


_SUFFIXES = {
    "": "1", "n": "1e-9", "u": "1e-6", "m": "1e-3", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15",
    "E": "1e18", "Ki": str(2**10), "Mi": str(2**20), "Gi": str(2**30), "Ti": str(2**40), "Pi": str(2**50), "Ei": str(2**60),
}  # fmt: skip


def _amount(value: Any) -> Any:
    """A quantity as text of its amount ("0.5" and "500m" are the same); what is none stays as it is."""
    text = str(value)
    digits = text.rstrip("numkMGTPEi")
    try:
        amount = Fraction(digits) * Fraction(_SUFFIXES[text[len(digits) :]])
    except (ValueError, KeyError):
        return value
    return str(amount)
