"""What the API serves: one entry per (group, version, plural), with all that discovery tells about it.

Built-in kinds are listed here; the rest are registered by their CustomResourceDefinitions (see `crds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.api import resources as api
from rollout.api.resources import Resource
from rollout.sandbox.schema import names
from rollout.sandbox.storage import refusals

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_NAMESPACE_VERBS = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")


class ScalePaths(msgspec.Struct, frozen=True):
    """Where a kind keeps what `autoscaling/v1 Scale` shows, as dotted paths. `selector` is "" when it has none.

    `selector_is_text`: custom resources keep the selector as a string, workloads as a LabelSelector.
    """

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str = "spec.selector"
    selector_is_text: bool = False


class Served(msgspec.Struct, frozen=True):
    """One served version of one resource."""

    resource: Resource
    singular: str
    list_kind: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    has_status: bool = True
    has_generation: bool = True
    scale: ScalePaths | None = None
    builtin: bool = True
    stored: bool = True
    """Whether objects are kept at this version (each resource has exactly one such)."""
    deprecated: str = ""
    """The warning that users of this version get, or ""."""
    schema: dict[str, Any] | None = None
    """The structural schema of a custom resource; built-in kinds' come from `schema.kinds`."""
    columns: tuple[Mapping[str, Any], ...] = ()
    """additionalPrinterColumns of a custom resource."""
    selectable: tuple[str, ...] = ()
    """Further fields that field selectors may name."""
    subresources: tuple[str, ...] = ()
    """All subresources by name, for discovery."""
    check_name: names.Check = names.dns_subdomain

    @property
    def bucket(self) -> tuple[str, str]:
        """(group, plural): what all versions of a resource share."""
        return self.resource.group, self.resource.plural

    @property
    def type_meta(self) -> dict[str, str]:
        """apiVersion and kind, as objects carry them."""
        api_version, kind = self.resource.gvk
        return {"apiVersion": api_version, "kind": kind}

    def check_subresource(self, subresource: str) -> None:
        """NotFound when this version has no such subresource. "" is the object itself."""
        if subresource and subresource not in self.subresources:
            raise refusals.not_served()


def _builtin(
    resource: Resource,
    *short_names: str,
    all_category: bool = False,
    subresources: tuple[str, ...] = ("status",),
    **more: Any,
) -> Served:
    return Served(
        resource=resource,
        singular=resource.kind.lower(),
        list_kind=resource.kind + "List",
        short_names=short_names,
        categories=("all",) if all_category else (),
        has_status="status" in subresources,
        scale=ScalePaths() if "scale" in subresources else None,
        subresources=subresources,
        **more,
    )


def builtins() -> tuple[Served, ...]:
    """The built-in kinds, as kube-apiserver describes them in discovery."""
    plain: dict[str, Any] = {"subresources": (), "has_generation": False}
    return (
        _builtin(
            api.NAMESPACES,
            "ns",
            has_generation=False,
            subresources=("status", "finalize"),
            verbs=_NAMESPACE_VERBS,
            check_name=names.dns_label,
        ),
        _builtin(api.NODES, "no", has_generation=False),
        _builtin(
            api.PODS,
            "po",
            all_category=True,
            subresources=("status", "binding", "ephemeralcontainers", "eviction", "log"),
        ),
        _builtin(api.POD_TEMPLATES, subresources=()),
        _builtin(
            api.SERVICES,
            "svc",
            all_category=True,
            has_generation=False,
            check_name=names.dns_1035_label,
        ),
        _builtin(api.CONFIG_MAPS, "cm", **plain),
        _builtin(api.SECRETS, **plain),
        _builtin(api.SERVICE_ACCOUNTS, "sa", **plain),
        _builtin(api.EVENTS, "ev", **plain),
        _builtin(api.REPLICA_SETS, "rs", all_category=True, subresources=("status", "scale")),
        _builtin(api.DEPLOYMENTS, "deploy", all_category=True, subresources=("status", "scale")),
        _builtin(api.JOBS, all_category=True),
        _builtin(api.HPAS, "hpa", all_category=True, has_generation=False),
        _builtin(api.PDBS, "pdb"),
        _builtin(api.LEASES, **plain),
        _builtin(api.ENDPOINT_SLICES, subresources=()),
        _builtin(api.INGRESSES, "ing"),
        _builtin(api.NETWORK_POLICIES, "netpol", subresources=()),
        Served(
            resource=api.CRDS,
            singular="customresourcedefinition",
            list_kind="CustomResourceDefinitionList",
            short_names=("crd", "crds"),
            categories=("api-extensions",),
            subresources=("status",),
        ),
    )
