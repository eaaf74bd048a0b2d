"""Small values that all objects share: names, times, durations, int-or-percent, conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec

Object = Mapping[str, Any]


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all views: frozen, camelCase on the wire, unknown fields ignored, defaults left out.

    Frozen values made from JSON cannot be part of a reference cycle: the collector need not look at them (`gc`).
    """


class Key(msgspec.Struct, frozen=True, order=True):
    """Namespace and name. `namespace` is "" for cluster-scoped objects."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(View, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class ObjectMeta(View, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)

    def label(self, name: str) -> str:
        return (self.labels or {}).get(name, "")

    def annotation(self, name: str) -> str:
        return (self.annotations or {}).get(name, "")

    def controlled_by(self, uid: str) -> bool:
        """Whether the controlling owner is the object with this uid."""
        return any(ref.controller and ref.uid == uid for ref in self.owner_references)


class LabelSelectorRequirement(View, frozen=True):
    key: str
    operator: str
    values: tuple[str, ...] | None = None


class LabelSelector(View, frozen=True):
    """metadata.labels must have all of `matchLabels` and satisfy all `matchExpressions`. Empty matches all."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelSelectorRequirement, ...] | None = None

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        have = labels or {}
        return all(have.get(k) == v for k, v in (self.match_labels or {}).items()) and all(
            _requirement_holds(term, have) for term in self.match_expressions or ()
        )


def _requirement_holds(term: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    match term.operator:
        case "In":
            return labels.get(term.key) in (term.values or ())
        case "NotIn":
            return labels.get(term.key) not in (term.values or ())
        case "Exists":
            return term.key in labels
        case "DoesNotExist":
            return term.key not in labels
        case _:
            return False


def metadata(obj: Object) -> Mapping[str, Any]:
    return obj.get("metadata") or {}


def map_of(value: Any) -> Mapping[str, Any]:
    """The value where it is a map, else an empty one: for objects that nobody has checked."""
    return value if isinstance(value, Mapping) else {}


def maps_of(value: Any) -> list[Mapping[str, Any]]:
    """The maps in a list; none where it is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def key_of(obj: Object) -> Key:
    meta = metadata(obj)
    return Key(meta.get("namespace") or "", meta.get("name") or "")


def time_of(text: str | None) -> datetime | None:
    """An API timestamp (RFC 3339) as an aware UTC time; None for None or "". ValueError if malformed."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def timestamp(moment: datetime) -> str:
    """An API timestamp: RFC 3339 in UTC, whole seconds (truncated, as metav1.Time is written)."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def micro_timestamp(moment: datetime) -> str:
    """metav1.MicroTime: RFC 3339 in UTC with six decimals (Lease times, events.k8s.io)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[-+]?(?:{_DURATION_PART.pattern})+", re.ASCII)
MAX_DURATION_SECONDS = 2**63 / 1e9


def duration(text: str) -> float:
    """Seconds of a Go duration ("300ms", "1h30m", "-1.5s", "0"). ValueError with a reason otherwise.

    Syntax: https://pkg.go.dev/time#ParseDuration. Values beyond 2^63 ns are refused as Go does.
    """
    if text in {"0", "+0", "-0"}:
        return 0.0
    if len(text) > 64 or not _DURATION.fullmatch(text):
        raise ValueError(f'{text!r} is not a duration; write for example "30s", "5m" or "1h30m"')
    total = sum(
        (Fraction(amount) * _UNITS[unit] for amount, unit in _DURATION_PART.findall(text)),
        Fraction(0),
    )
    if total > MAX_DURATION_SECONDS:
        raise ValueError(f"{text!r} is longer than a duration can be (about 292 years)")
    return float(-total if text.startswith("-") else total)


def pause_seconds(value: int | str) -> float:
    """Seconds of a pause duration: an int, a string of digits, or a Go duration. ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    text = str(value)
    return float(text) if re.fullmatch(r"[0-9]{1,12}", text) else duration(text)


IntOrPercent = int | str


def scaled(value: IntOrPercent, total: int, *, round_up: bool) -> int:
    """An int-or-percent of `total`. "25%" of 10 is 3 rounded up, 2 rounded down. ValueError if malformed."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,9}%", text):
        raise ValueError(f'{value!r} is neither an integer nor a percentage such as "25%"')
    product = int(text[:-1]) * total
    return -(-product // 100) if round_up else product // 100
