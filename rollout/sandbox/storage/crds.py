"""CustomResourceDefinitions: what one says about the resources it makes the API serve.

Contract: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.api.resources import Resource
from rollout.sandbox.schema import names
from rollout.sandbox.schema.fields import FieldError, duplicate, forbidden, invalid, not_supported, required
from rollout.sandbox.schema.published import schema_errors
from rollout.sandbox.storage.registry import ScalePaths, Served, builtins

Object = dict[str, Any]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def served_versions(crd: Object) -> tuple[Served, ...]:
    """One entry per served version."""
    spec = crd["spec"]
    return tuple(_served(spec, version) for version in spec["versions"] if version.get("served"))


def bucket(crd: Object) -> tuple[str, str]:
    """(group, plural) of the resource it defines."""
    return crd["spec"]["group"], crd["spec"]["names"]["plural"]


def storage_resource(crd: Object) -> Resource:
    """The resource at the version that objects are kept in."""
    return _resource(crd["spec"], _storage_version(crd)["name"])


def storage_schema(crd: Object) -> Object:
    """The schema of the version that objects are kept in."""
    schema: Object = _storage_version(crd)["schema"]["openAPIV3Schema"]
    return schema


def _storage_version(crd: Object) -> Object:
    version: Object = next(version for version in crd["spec"]["versions"] if version.get("storage"))
    return version


def _resource(spec: Mapping[str, Any], version: str) -> Resource:
    named = spec["names"]
    return Resource(
        spec["group"], version, named["plural"], named["kind"], namespaced=spec["scope"] == "Namespaced"
    )


def _served(spec: Mapping[str, Any], version: Mapping[str, Any]) -> Served:
    named = spec["names"]
    sub = version.get("subresources") or {}
    scale = None
    if "scale" in sub:
        paths = sub["scale"]
        scale = ScalePaths(
            spec_replicas=paths["specReplicasPath"].lstrip("."),
            status_replicas=paths["statusReplicasPath"].lstrip("."),
            selector=(paths.get("labelSelectorPath") or "").lstrip("."),
        )
    resource = _resource(spec, version["name"])
    deprecated = ""
    if version.get("deprecated"):
        deprecated = (
            version.get("deprecationWarning") or f"{resource.api_version} {resource.kind} is deprecated"
        )
    return Served(
        resource=resource,
        singular=named.get("singular") or resource.kind.lower(),
        list_kind=named.get("listKind") or resource.kind + "List",
        short_names=tuple(named.get("shortNames") or ()),
        categories=tuple(named.get("categories") or ()),
        has_status="status" in sub,
        scale=scale,
        builtin=False,
        stored=bool(version.get("storage")),
        deprecated=deprecated,
        schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        selectable=tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()),
        subresources=tuple(name for name in ("status", "scale") if name in sub),
    )


def with_defaults(crd: Object) -> Object:
    """Names and conversion filled in as kube-apiserver does."""
    spec = dict(crd.get("spec") or {})
    named = dict(spec.get("names") or {})
    if kind := named.get("kind"):
        named.setdefault("singular", kind.lower())
        named.setdefault("listKind", kind + "List")
    spec["names"] = named
    spec.setdefault("conversion", {"strategy": "None"})
    return {**crd, "spec": spec}


def with_status(crd: Object, now: str) -> Object:
    """The status of a CRD that is served, and the finalizer that lets its objects go first."""
    spec, old = crd["spec"], crd.get("status") or {}
    stored = [version["name"] for version in spec["versions"] if version.get("storage")]
    status = {
        "acceptedNames": spec["names"],
        "conditions": old.get("conditions")
        or [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ],
        "storedVersions": list(dict.fromkeys([*(old.get("storedVersions") or ()), *stored])),
    }
    meta = crd["metadata"]
    if not meta.get("deletionTimestamp"):
        finalizers = list(dict.fromkeys([*(meta.get("finalizers") or ()), CLEANUP]))
        meta = {**meta, "finalizers": finalizers}
    return {**crd, "metadata": meta, "status": status}


def _condition(type: str, reason: str, message: str, now: str) -> Object:
    return {
        "lastTransitionTime": now,
        "message": message,
        "reason": reason,
        "status": "True",
        "type": type,
    }


def check(new: Object, old: Object | None) -> list[FieldError]:
    """What is wrong with a CRD, beyond its own schema."""
    spec = new.get("spec") or {}
    named, group = spec.get("names") or {}, spec.get("group") or ""
    errors = [
        required(f"spec.{path}")
        for path, value in (
            ("group", group),
            ("scope", spec.get("scope")),
            ("names.plural", named.get("plural")),
            ("names.kind", named.get("kind")),
        )
        if not value
    ]
    versions = spec.get("versions") or []
    if not versions:
        errors.append(required("spec.versions"))
    if errors:
        return errors
    if new["metadata"]["name"] != f"{named['plural']}.{group}":
        errors.append(
            invalid("metadata.name", new["metadata"]["name"], 'must be spec.names.plural+"."+spec.group')
        )
    errors += [
        invalid("spec.names.plural", named["plural"], text) for text in names.dns_1035_label(named["plural"])
    ]
    if sum(bool(version.get("storage")) for version in versions) != 1:
        errors.append(
            invalid("spec.versions", versions, "must have exactly one version marked as storage version")
        )
    errors += _group(new, group)
    if spec["scope"] not in {"Cluster", "Namespaced"}:
        errors.append(not_supported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]))
    if (group, named["plural"]) in {served.bucket for served in builtins()}:
        errors.append(forbidden("spec.names.plural", "the API server itself serves this resource"))
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version["name"] in seen:
            errors.append(duplicate(f"spec.versions[{index}].name", version["name"]))
        seen.add(version["name"])
    if (spec.get("conversion") or {}).get("strategy", "None") != "None":
        errors.append(
            forbidden(
                "spec.conversion.strategy", 'the sandbox converts with "None" only, it calls no webhooks'
            )
        )
    errors += _schemas(versions, (old or {}).get("spec") or {})
    if old is not None:
        errors += _immutable(spec, old["spec"])
    return errors


def _schemas(versions: list[Object], old: Object) -> list[FieldError]:
    """What keeps schemas from being structural. One that was taken before is not judged again."""
    before = {version["name"]: version.get("schema") for version in old.get("versions") or ()}
    return [
        error
        for index, version in enumerate(versions)
        if version.get("schema") is None or version["schema"] != before.get(version["name"])
        for error in schema_errors(
            (version.get("schema") or {}).get("openAPIV3Schema"),
            f"spec.versions[{index}].schema.openAPIV3Schema",
        )
    ]


_APPROVED = "api-approved.kubernetes.io"


def _group(crd: Object, group: str) -> list[FieldError]:
    """https://github.com/kubernetes/enhancements/pull/1111: groups of the Kubernetes community are guarded."""
    if "." not in group:
        return [invalid("spec.group", group, "should be a domain with at least one dot")]
    errors = [invalid("spec.group", group, text) for text in names.dns_subdomain(group)]
    guarded = group.endswith((".k8s.io", ".kubernetes.io"))
    if guarded and not (crd["metadata"].get("annotations") or {}).get(_APPROVED):
        why = f'protected groups must have approval annotation "{_APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111'
        errors.append(required(f"metadata.annotations[{_APPROVED}]", why))
    return errors


def _immutable(spec: Object, old: Object) -> list[FieldError]:
    return [
        invalid(f"spec.{path}", new, "field is immutable")
        for path, new, before in (
            ("group", spec["group"], old["group"]),
            ("scope", spec["scope"], old["scope"]),
            ("names.plural", spec["names"]["plural"], old["names"]["plural"]),
            ("names.kind", spec["names"]["kind"], old["names"]["kind"]),
        )
        if new != before
    ]
