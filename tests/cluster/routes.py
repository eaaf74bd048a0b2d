"""Canaries over an HTTPRoute of the Gateway `public`: their objects, and what the route says."""

from __future__ import annotations

from typing import Any

from rollout.api.resources import HTTP_ROUTES
from rollout.runtime.kube import Object
from tests.cluster.gateway.install import Public
from tests.cluster.releases import Releases, template
from tests.sandbox import release_support


def by_route(
    public: Public,
    host: str,
    *steps: Object,
    version: str = "v1",
    image: str,
    replicas: int = 2,
    **fields: Any,
) -> list[Object]:
    """A canary by an HTTPRoute that answers to `host`, and what it refers to; `fields` are of its strategy."""
    objects = release_support.by_route(*steps, host=host, **fields)
    of = {one["kind"]: one["spec"] for one in objects}
    of["HTTPRoute"]["parentRefs"] = [public.parent]
    of["Rollout"] |= {"template": template(version, image), "replicas": replicas}
    return objects


def weights(releases: Releases) -> list[int]:
    """[stable, canary] in the last rule of the HTTPRoute."""
    return [int(one["weight"]) for one in releases.find(HTTP_ROUTES)["spec"]["rules"][-1]["backendRefs"]]


def served(route: Object) -> bool:
    """Whether every Gateway of a route has accepted its present generation."""
    generation = route["metadata"]["generation"]
    told = [
        {
            one["type"]
            for one in parent["conditions"]
            if (one["status"], one["observedGeneration"]) == ("True", generation)
        }
        for parent in (route.get("status") or {}).get("parents", ())
    ]
    return bool(told) and all({"Accepted", "ResolvedRefs"} <= one for one in told)
