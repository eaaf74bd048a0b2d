"""The one shape of EnvoyFilter that the sandbox's mesh understands: HTTP faults of a workload's sidecars. Pure.

Contract: https://istio.io/latest/docs/reference/config/networking/envoy-filter/ and Envoy's
`envoy.extensions.filters.http.fault.v3.HTTPFault`, in protobuf's JSON with the field names of the .proto file.
Everything else is refused with the path of the first field that is not understood, and nothing of the object
is served: a fault that is done by half proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from rollout.api.codec import view
from rollout.api.meta import Key, Object, key_of, metadata, time_of
from rollout.errors import InvalidSpec
from rollout.sandbox.mesh.model import Problems
from rollout.sandbox.mesh.protobuf import Resource

EXPIRES_AT = "surefoot.dev/expires-at"
"""Annotation: from this moment (RFC 3339) the mesh treats the object as absent, whoever is dead or alive."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Duration = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?s$")]


class _Exact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields that must be understood, all of them."""


class _Percentage(_Exact, frozen=True):
    numerator: Count = 0
    denominator: Literal["HUNDRED", "TEN_THOUSAND", "MILLION"] = "HUNDRED"


class _Delay(_Exact, frozen=True):
    fixed_delay: _Duration
    percentage: _Percentage = _Percentage()


class _Abort(_Exact, frozen=True):
    http_status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    percentage: _Percentage = _Percentage()


class _HttpFault(_Exact, frozen=True):
    type: Literal["type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"] = msgspec.field(
        name="@type"
    )
    delay: _Delay | None = None
    abort: _Abort | None = None
    max_active_faults: Count | None = None
    upstream_cluster: str = ""
    headers: tuple[dict[str, Any], ...] = ()
    """Envoy's HeaderMatchers: only requests that match all of them. Envoy itself judges them."""


class _Value(_Exact, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    typed_config: _HttpFault


class _Patch(_Exact, frozen=True):
    operation: Literal["INSERT_BEFORE"]
    value: _Value


class _Name(_Exact, frozen=True):
    name: Literal["envoy.filters.http.router"]


class _NetworkFilter(_Exact, frozen=True, rename="camel"):
    name: Literal["envoy.filters.network.http_connection_manager"]
    sub_filter: _Name


class _Chain(_Exact, frozen=True):
    filter: _NetworkFilter


class _Listener(_Exact, frozen=True, rename="camel"):
    filter_chain: _Chain
    port_number: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class _Match(_Exact, frozen=True):
    context: Literal["SIDECAR_INBOUND", "SIDECAR_OUTBOUND"]
    listener: _Listener


class _ConfigPatch(_Exact, frozen=True, rename="camel"):
    apply_to: Literal["HTTP_FILTER"]
    match: _Match
    patch: _Patch


class _Selector(_Exact, frozen=True):
    labels: dict[str, str] = {}


class _Spec(_Exact, frozen=True, rename="camel"):
    workload_selector: _Selector = _Selector()
    config_patches: tuple[_ConfigPatch, ...] = ()


class Filter(msgspec.Struct, frozen=True):
    """One HTTP fault filter. `port`: the container port of an inbound one, `cluster` the upstream cluster of an
    outbound one; 0 and "" mean any. `body` is Envoy's own filter."""

    body: Resource
    port: int = 0
    cluster: str = ""


class Fault(msgspec.Struct, frozen=True):
    """What an EnvoyFilter does to the pods that it selects (those with all of `labels` in its namespace).

    Filters that hit 0 % are left out: they do nothing.
    """

    key: Key
    uid: str
    labels: Mapping[str, str]
    inbound: tuple[Filter, ...]
    outbound: tuple[Filter, ...]

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return namespace == self.key.namespace and self.labels.items() <= labels.items()


def faults(objects: Iterable[Object]) -> tuple[list[Fault], list[Problems]]:
    """The faults, oldest object first, and what is not understood of the others."""
    found: list[Fault] = []
    reports: list[Problems] = []
    for obj in sorted(objects, key=_age):
        try:
            found.append(_fault(obj))
        except InvalidSpec as error:
            path, _, message = str(error).partition(": ")
            report = Problems("EnvoyFilter", obj)
            report.add(path, f"{message}; nothing of this object is served", whole=True)
            reports.append(report)
    return found, reports


def expiry(obj: Object) -> datetime | None:
    """When the object stops counting; None for never. InvalidSpec when that cannot be read."""
    text = (metadata(obj).get("annotations") or {}).get(EXPIRES_AT)
    if not text:
        return None
    try:
        at = time_of(str(text))
    except ValueError:
        at = None
    if at is None:
        raise InvalidSpec(f"metadata.annotations[{EXPIRES_AT}]: {text!r} is not a time as in RFC 3339")
    return at


def expired(obj: Object, now: datetime) -> bool:
    """Whether the object counts no more. An expiry that cannot be read is a problem, not a decision."""
    try:
        at = expiry(obj)
    except InvalidSpec:
        return False
    return at is not None and at <= now


def _fault(obj: Object) -> Fault:
    expiry(obj)
    key = key_of(obj)
    spec = view(obj.get("spec") or {}, _Spec, path="spec")
    patches = (obj.get("spec") or {}).get("configPatches") or ()
    inbound: list[Filter] = []
    outbound: list[Filter] = []
    for index, (patch, raw) in enumerate(zip(spec.config_patches, patches, strict=True)):
        fault = patch.patch.value.typed_config
        path = f"spec.configPatches[{index}]"
        if patch.match.context == "SIDECAR_INBOUND" and fault.upstream_cluster:
            where = f"{path}.patch.value.typed_config.upstream_cluster"
            raise InvalidSpec(f"{where}: is for SIDECAR_OUTBOUND; an inbound request has one destination")
        if fault.delay is None and fault.abort is None:
            raise InvalidSpec(f"{path}.patch.value.typed_config: needs delay or abort")
        if not any(_hits(part) for part in (fault.delay, fault.abort)):
            continue
        port = patch.match.listener.port_number
        if patch.match.context == "SIDECAR_INBOUND":
            inbound.append(Filter(raw["patch"]["value"], port=port))
        elif port:
            where = f"{path}.match.listener.portNumber"
            raise InvalidSpec(f"{where}: not for SIDECAR_OUTBOUND here; say upstream_cluster")
        else:
            outbound.append(Filter(raw["patch"]["value"], cluster=fault.upstream_cluster))
    uid = str(metadata(obj).get("uid") or key)
    return Fault(key, uid, spec.workload_selector.labels, tuple(inbound), tuple(outbound))


def _hits(part: _Delay | _Abort | None) -> bool:
    return part is not None and part.percentage.numerator > 0


def _age(obj: Object) -> tuple[str, Key]:
    return str(metadata(obj).get("creationTimestamp") or ""), key_of(obj)
