"""The discovery documents: which groups, versions and resources there are.

Legacy (/api, /apis, /apis/G, /apis/G/V) and aggregated (apidiscovery.k8s.io, KEP-3352). Pure functions of the
served resources. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]


class _Sub(msgspec.Struct, frozen=True):
    """A subresource: the kind it answers with (None: the resource's own) and its verbs."""

    kind: tuple[str, str, str] | None
    verbs: tuple[str, ...]


_READ_WRITE = ("get", "patch", "update")
_SUBRESOURCES = {
    "status": _Sub(None, _READ_WRITE),
    "scale": _Sub(("autoscaling", "v1", "Scale"), _READ_WRITE),
    "log": _Sub(None, ("get",)),
    "finalize": _Sub(None, ("update",)),
    "binding": _Sub(("", "v1", "Binding"), ("create",)),
    "ephemeralcontainers": _Sub(None, _READ_WRITE),
    "eviction": _Sub(("policy", "v1", "Eviction"), ("create",)),
}


def core_versions(address: str) -> Object:
    """/api: the legacy APIVersions document."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(served: Iterable[Served]) -> Object:
    """/apis."""
    groups = [_group(name, versions) for name, versions in _named_groups(served)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(served: Iterable[Served], name: str) -> Object | None:
    """/apis/G; None when there is no such group."""
    for found, versions in _named_groups(served):
        if found == name:
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, versions)
    return None


def resource_list(served: Iterable[Served], name: str, version: str) -> Object | None:
    """/api/V and /apis/G/V; None when there is no such group version."""
    members = _members(served, name, version)
    if not members:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{name}/{version}" if name else version,
        "resources": [entry for member in members for entry in _legacy_entries(member)],
    }


def aggregated(served: Iterable[Served], *, core: bool, version: str) -> Object:
    """/api (`core`) or /apis as an APIGroupDiscoveryList of apidiscovery.k8s.io `version`."""
    served = tuple(served)
    names = [("", _versions(served, ""))] if core else _named_groups(served)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [_aggregated_group(served, name, versions) for name, versions in names],
    }


_STABILITY = {"": 2, "beta": 1, "alpha": 0}
_VERSION = re.compile(r"v(?P<major>[1-9][0-9]*)(?:(?P<stability>alpha|beta)(?P<minor>[1-9][0-9]*))?")


def version_order(version: str) -> tuple[int, int, int, int, str]:
    """Sort key of API versions, most preferred first: v2, v1, v2beta1, v1beta2, v1alpha1, then others by name.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
    """
    if not (match := _VERSION.fullmatch(version)):
        return (1, 0, 0, 0, version)
    stability = _STABILITY[match["stability"] or ""]
    return (0, -stability, -int(match["major"]), -int(match["minor"] or 0), version)


def _versions(served: Iterable[Served], name: str) -> list[str]:
    found = {member.resource.version for member in served if member.resource.group == name}
    return sorted(found, key=version_order)


def _named_groups(served: Iterable[Served]) -> list[tuple[str, list[str]]]:
    served = tuple(served)
    names = dict.fromkeys(member.resource.group for member in served if member.resource.group)
    return [(name, _versions(served, name)) for name in names]


def _members(served: Iterable[Served], name: str, version: str) -> list[Served]:
    found = [m for m in served if m.resource.group == name and m.resource.version == version]
    return sorted(found, key=lambda member: member.resource.plural)


def _group(name: str, versions: Sequence[str]) -> Object:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _legacy_entries(member: Served) -> list[Object]:
    resource = member.resource
    entry: Object = {
        "name": resource.plural,
        "singularName": member.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(member.verbs),
    }
    if member.short_names:
        entry["shortNames"] = list(member.short_names)
    if member.categories:
        entry["categories"] = list(member.categories)
    entries = [entry]
    for name in member.subresources:
        group, version, kind = _sub_kind(member, name)
        below: Object = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(_SUBRESOURCES[name].verbs),
        }
        if (group, version) != (resource.group, resource.version):
            below |= {"group": group, "version": version}
        entries.append(below)
    return entries


def _sub_kind(member: Served, name: str) -> tuple[str, str, str]:
    own = member.resource.group, member.resource.version, member.resource.kind
    return _SUBRESOURCES[name].kind or own


def _aggregated_group(served: Sequence[Served], name: str, versions: Sequence[str]) -> Object:
    return {
        "metadata": {"name": name} if name else {},
        "versions": [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_aggregated_entry(member) for member in _members(served, name, version)],
            }
            for version in versions
        ],
    }


def _aggregated_entry(member: Served) -> Object:
    resource = member.resource
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": member.singular,
        "verbs": list(member.verbs),
    }
    if member.short_names:
        entry["shortNames"] = list(member.short_names)
    if member.categories:
        entry["categories"] = list(member.categories)
    if member.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": dict(zip(("group", "version", "kind"), _sub_kind(member, name), strict=True)),
                "verbs": list(_SUBRESOURCES[name].verbs),
            }
            for name in member.subresources
        ]
    return entry
