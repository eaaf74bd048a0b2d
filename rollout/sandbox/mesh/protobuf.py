"""Envoy's resources are protobuf messages in JSON: the few spellings that need care."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rollout.api.meta import duration

Resource = dict[str, Any]

_TYPES = "type.googleapis.com/envoy."


def typed(message: str, /, **fields: Any) -> Resource:
    """A message inside `Any`: `message` is its protobuf name without the leading `envoy.`."""
    return {"@type": _TYPES + message, **fields}


def extension(name: str, message: str, /, **fields: Any) -> Resource:
    """A named extension (filter, logger, ...) with its configuration."""
    return {"name": name, "typed_config": typed(message, **fields)}


@lru_cache(maxsize=4096)
def seconds(text: str) -> str:
    """protobuf's Duration of a Go duration. ValueError if malformed or negative."""
    value = duration(str(text))
    if value < 0:
        raise ValueError(f"{text!r} is negative")
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def percent(value: float) -> Resource:
    """FractionalPercent of 0..100, in steps of a ten-thousandth of a percent (as Istio renders it)."""
    return {"numerator": round(min(max(float(value), 0.0), 100.0) * 10_000), "denominator": "MILLION"}


def header_values(values: Mapping[str, Any], action: str) -> list[Resource]:
    """HeaderValueOptions; names sorted, so that equal specs render to equal bytes."""
    return [
        {"header": {"key": name, "value": str(values[name])}, "append_action": action}
        for name in sorted(values)
    ]


SET = "OVERWRITE_IF_EXISTS_OR_ADD"
ADD = "APPEND_IF_EXISTS_OR_ADD"


def socket_address(address: str, port: int) -> Resource:
    return {"socket_address": {"address": address, "port_value": port}}


def internal_address(listener: str) -> Resource:
    """The address of a listener inside Envoy itself."""
    return {"envoy_internal_address": {"server_listener_name": listener}}


def file_source(path: str) -> Resource:
    """A ConfigSource that follows one file; Envoy looks again when another is renamed onto it."""
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}
