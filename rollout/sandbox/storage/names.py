"""What may stand in metadata: names, labels, annotations, ownerReferences, finalizers.

Rules and words: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and the apimachinery
package `util/validation`. Each function returns the sentences that are wrong about a value, () when none is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rollout.sandbox.schema.fields import FieldError, required, too_long
from rollout.sandbox.schema.fields import invalid as wrong

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_LABEL_SAYS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL}')"
)
_LABEL_1035_SAYS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    f"validation is '{_LABEL_1035}')"
)
_SUBDOMAIN_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_QUALIFIED_SAYS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
_QUALIFIED_NAME_SAYS = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_VALUE_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    f"validation is '({_QUALIFIED})?')"
)

_MAX_ANNOTATIONS = 256 * 1024
Check = Callable[[str], tuple[str, ...]]


def _checker(pattern: str, says: str, longest: int) -> Check:
    compiled = re.compile(pattern)

    def check(value: str) -> tuple[str, ...]:
        problems = []
        if len(value) > longest:
            problems.append(f"must be no more than {longest} characters")
        if not compiled.fullmatch(value):
            problems.append(says)
        return tuple(problems)

    return check


dns_label = _checker(_LABEL, _LABEL_SAYS, 63)
dns_1035_label = _checker(_LABEL_1035, _LABEL_1035_SAYS, 63)
dns_subdomain = _checker(_SUBDOMAIN, _SUBDOMAIN_SAYS, 253)
label_value = _checker(rf"({_QUALIFIED})?", _VALUE_SAYS, 63)
_name_part = _checker(_QUALIFIED, _QUALIFIED_SAYS, 63)


def qualified_name(value: str) -> tuple[str, ...]:
    """A label or annotation key, a finalizer: `[prefix/]name`."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return (_QUALIFIED_NAME_SAYS,)
    problems: list[str] = []
    if slash:
        problems += (
            ["prefix part must be non-empty"]
            if not prefix
            else [f"prefix part {text}" for text in dns_subdomain(prefix)]
        )
    if not name:
        problems.append("name part must be non-empty")
    problems += [text if text.startswith("name part") else f"name part {text}" for text in _name_part(name)]
    return tuple(problems)


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
