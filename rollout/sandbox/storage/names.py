"""What may stand in metadata: names, labels, annotations, ownerReferences, finalizers.

The syntax is `schema.names`'; here its answers are remembered, because the same few keys come with every write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from rollout.sandbox.schema import names as syntax
from rollout.sandbox.schema.fields import FieldError, required, too_long
from rollout.sandbox.schema.fields import invalid as wrong

Check = Callable[[str], tuple[str, ...]]

_MAX_ANNOTATIONS = 256 * 1024


def _remembered(check: Callable[[str], list[str]]) -> Check:
    @lru_cache(maxsize=4096)
    def problems(value: str) -> tuple[str, ...]:
        return tuple(check(value))

    return problems


dns_label = _remembered(syntax.dns_label)
dns_1035_label = _remembered(syntax.dns_1035_label)
dns_subdomain = _remembered(syntax.dns_subdomain)
qualified_name = _remembered(syntax.qualified_name)
label_value = _remembered(syntax.label_value)


def check_metadata(meta: Mapping[str, Any], check_name: Check, *, namespaced: bool) -> list[FieldError]:
    """Everything that is wrong with an object's metadata on its own."""
    problems: list[FieldError] = []
    name = meta.get("name") or ""
    if not name:
        problems.append(required("metadata.name", "name or generateName is required"))
    else:
        problems += [wrong("metadata.name", name, text) for text in check_name(name)]
    if namespaced and not meta.get("namespace"):
        problems.append(required("metadata.namespace"))
    problems += _labels(meta.get("labels") or {})
    problems += _annotations(meta.get("annotations") or {})
    problems += _owners(meta.get("ownerReferences") or ())
    for finalizer in meta.get("finalizers") or ():
        problems += [wrong("metadata.finalizers", finalizer, text) for text in qualified_name(finalizer)]
    return problems


def _labels(labels: Mapping[str, str], path: str = "metadata.labels") -> list[FieldError]:
    problems: list[FieldError] = []
    for key, value in labels.items():
        problems += [wrong(path, key, text) for text in qualified_name(key)]
        problems += [wrong(path, value, text) for text in label_value(value)]
    return problems


def _annotations(annotations: Mapping[str, str]) -> list[FieldError]:
    path = "metadata.annotations"
    problems = [wrong(path, key, text) for key in annotations for text in qualified_name(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _MAX_ANNOTATIONS:
        problems.append(too_long(path, _MAX_ANNOTATIONS))
    return problems


def _owners(references: Any) -> list[FieldError]:
    problems: list[FieldError] = []
    controllers: list[str] = []
    for index, reference in enumerate(references):
        path = f"metadata.ownerReferences[{index}]"
        problems += [
            wrong(f"{path}.{field}", "", "must not be empty")
            for field in ("apiVersion", "kind", "name", "uid")
            if not reference.get(field)
        ]
        if reference.get("controller"):
            controllers.append(reference.get("kind", ""))
    if len(controllers) > 1:
        problems.append(
            wrong(
                "metadata.ownerReferences",
                references,
                "Only one reference can have Controller set to true. Found "
                f'"true" in references for {controllers[0]} and {controllers[1]}',
            )
        )
    return problems


def metadata_types(meta: Any) -> str:
    """Why `metadata` cannot be decoded at all ("" when it can): wrong JSON types of its fields."""
    if not isinstance(meta, Mapping):
        return f"json: cannot unmarshal {_go_kind(meta)} into Go struct field .metadata of type v1.ObjectMeta"
    for field in ("labels", "annotations"):
        value = meta.get(field)
        if value is None:
            continue
        if not isinstance(value, Mapping):
            return _unmarshal(value, field, "map[string]string")
        for item in value.values():
            if not isinstance(item, str):
                return _unmarshal(item, field, "string")
    for field in ("name", "generateName", "namespace", "uid", "resourceVersion", "deletionTimestamp"):
        if meta.get(field) is not None and not isinstance(meta[field], str):
            return _unmarshal(meta[field], field, "string")
    for field, item_type in (("finalizers", str), ("ownerReferences", Mapping), ("managedFields", Mapping)):
        value = meta.get(field)
        if value is None:
            continue
        if not isinstance(value, list):
            return _unmarshal(value, field, "[]")
        for item in value:
            if field == "ownerReferences" and isinstance(item, Mapping):
                for part in ("apiVersion", "kind", "name", "uid"):
                    if not isinstance(item.get(part, ""), str):
                        return _unmarshal(item[part], f"{field}.{part}", "string")
            if not isinstance(item, item_type):
                return _unmarshal(item, field, "string" if item_type is str else "object")
    return ""


def _unmarshal(value: Any, field: str, wanted: str) -> str:
    return f"json: cannot unmarshal {_go_kind(value)} into Go struct field ObjectMeta.metadata.{field} of type {wanted}"


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
