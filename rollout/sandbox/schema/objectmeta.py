"""What may stand in an object's metadata: names, labels, annotations, ownerReferences, finalizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.sandbox.schema import names
from rollout.sandbox.schema.fields import FieldError, invalid, required, too_long

_MAX_ANNOTATIONS = 256 * 1024


def check(
    meta: Mapping[str, Any], check_name: names.Check, *, namespaced: bool, core: bool = True
) -> list[FieldError]:
    """Everything that is wrong with metadata on its own. Its types must be right (`decoding.metadata_problem`).

    `core`: a kind of Kubernetes' own; definitions, and what they define, take more names of finalizers.
    """
    errors: list[FieldError] = []
    name = meta.get("name") or ""
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors += [invalid("metadata.name", name, text) for text in check_name(name)]
    if namespaced and not meta.get("namespace"):
        errors.append(required("metadata.namespace"))
    errors += names.labels(meta.get("labels"), "metadata.labels")
    errors += _annotations(meta.get("annotations") or {})
    errors += _owners(meta.get("ownerReferences") or ())
    errors += _finalizers(meta.get("finalizers") or (), core=core)
    return errors


_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def _finalizers(finalizers: Sequence[str], *, core: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, one in enumerate(finalizers):
        errors += [invalid("metadata.finalizers", one, text) for text in names.qualified_name(one)]
        if core and "/" not in one and one not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(invalid(f"metadata.finalizers[{index}]", one, text))
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid("metadata.finalizers", list(finalizers), text))
    return errors


def _annotations(annotations: Mapping[str, str]) -> list[FieldError]:
    path = "metadata.annotations"
    errors = [invalid(path, key, text) for key in annotations for text in names.qualified_name(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _MAX_ANNOTATIONS:
        errors.append(too_long(path, _MAX_ANNOTATIONS))
    return errors


_OWNER_NEEDS = {
    "apiVersion": "version must not be empty",
    "kind": "must not be empty",
    "name": "must not be empty",
    "uid": "must not be empty",
}


def _owners(references: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    controllers: list[str] = []
    for reference in references:
        errors += [
            invalid(f"metadata.ownerReferences.{field}", "", text)
            for field, text in _OWNER_NEEDS.items()
            if not reference.get(field)
        ]
        version, kind = reference.get("apiVersion", ""), reference.get("kind", "")
        if version.count("/") > 1:
            errors.append(invalid("metadata.ownerReferences.apiVersion", version, _OWNER_NEEDS["apiVersion"]))
        if (version, kind) == ("v1", "Event"):
            text = "/v1, Kind=Event is disallowed from being an owner"
            errors.append(invalid("metadata.ownerReferences", _in_order(reference), text))
        if reference.get("controller"):
            controllers.append(reference.get("kind", ""))
    if len(controllers) > 1:
        detail = (
            "Only one reference can have Controller set to true. Found "
            f'"true" in references for {controllers[0]} and {controllers[1]}'
        )
        errors.append(invalid("metadata.ownerReferences", [_in_order(one) for one in references], detail))
    return errors


def _in_order(reference: Mapping[str, Any]) -> dict[str, Any]:
    """The reference with its fields as Go has them."""
    order = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
    return {key: reference[key] for key in order if key in reference}
