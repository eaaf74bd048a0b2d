"""What may stand in an object's metadata: names, labels, annotations, ownerReferences, finalizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.sandbox.schema import names
from rollout.sandbox.schema.fields import FieldError, invalid, required, too_long

_MAX_ANNOTATIONS = 256 * 1024


def check(meta: Mapping[str, Any], check_name: names.Check, *, namespaced: bool) -> list[FieldError]:
    """Everything that is wrong with metadata on its own. Its types must be right (`decoding.metadata_problem`)."""
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
    for finalizer in meta.get("finalizers") or ():
        errors += [
            invalid("metadata.finalizers", finalizer, text) for text in names.qualified_name(finalizer)
        ]
    return errors


def _annotations(annotations: Mapping[str, str]) -> list[FieldError]:
    path = "metadata.annotations"
    errors = [invalid(path, key, text) for key in annotations for text in names.qualified_name(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _MAX_ANNOTATIONS:
        errors.append(too_long(path, _MAX_ANNOTATIONS))
    return errors


def _owners(references: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    controllers: list[str] = []
    for index, reference in enumerate(references):
        path = f"metadata.ownerReferences[{index}]"
        errors += [
            invalid(f"{path}.{field}", "", "must not be empty")
            for field in ("apiVersion", "kind", "name", "uid")
            if not reference.get(field)
        ]
        if reference.get("controller"):
            controllers.append(reference.get("kind", ""))
    if len(controllers) > 1:
        detail = (
            "Only one reference can have Controller set to true. Found "
            f'"true" in references for {controllers[0]} and {controllers[1]}'
        )
        errors.append(invalid("metadata.ownerReferences", references, detail))
    return errors
