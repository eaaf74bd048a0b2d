"""Where a load test goes: a role (canary, stable, preview) as the URL of its Service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.checks import whole
from rollout.errors import ProviderError

_FIELDS = {
    ("canary", "canary"): "canaryService",
    ("canary", "stable"): "stableService",
    ("blueGreen", "preview"): "previewService",
    ("blueGreen", "stable"): "activeService",
}


def service_of(rollout: Mapping[str, Any], role: str) -> str:
    """The name of the Service of a role. ProviderError when the Rollout has none."""
    strategy = (rollout.get("spec") or {}).get("strategy") or {}
    kind = "blueGreen" if "blueGreen" in strategy else "canary"
    field = _FIELDS.get((kind, role))
    if field is None:
        known = ", ".join(sorted(of for strategy, of in _FIELDS if strategy == kind))
        raise ProviderError(f"target.role: a {kind} Rollout has no {role}; use one of: {known}")
    name = (strategy.get(kind) or {}).get(field)
    if not name:
        where = f"spec.strategy.{kind}.{field}"
        raise ProviderError(
            f"target.role {role}: the Rollout names no Service in {where}; name one, or use target.url"
        )
    return str(name)


def url_of(service: Mapping[str, Any], port: Any = None) -> str:
    """The base URL of a Service: its port of that number or name, its only one, or the one that is called http...

    ProviderError when that is not one port.
    """
    meta = service.get("metadata") or {}
    ports = [
        one for one in (service.get("spec") or {}).get("ports") or () if one.get("protocol", "TCP") == "TCP"
    ]
    if port is not None:
        fits = [one for one in ports if one.get("name") == port or one["port"] == whole(port)]
    else:
        fits = (
            ports
            if len(ports) == 1
            else [one for one in ports if str(one.get("name", "")).startswith("http")]
        )
    if len(fits) != 1:
        known = ", ".join(f"{one['port']} ({one.get('name', 'no name')})" for one in ports) or "none"
        wanted = "name one in target.port" if port is None else f"none is {port}"
        raise ProviderError(f'the ports of Service "{meta.get("name")}" are: {known}; {wanted}')
    number = fits[0]["port"]
    scheme = "https" if number == 443 or str(fits[0].get("name", "")).startswith("https") else "http"
    return f"{scheme}://{meta.get('name')}.{meta.get('namespace')}.svc:{number}"
