"""Sets of fields in the form that `managedFields[].fieldsV1` stores them.

A set is a tree of dicts. Keys are path elements: `f:<field>`, `k:<JSON object>` (an item of a map-like list),
`v:<JSON value>` (an item of a set), `i:<index>`. A node is in the set when it is `{}` or has the key `.`;
the root is never in it, and `{}` at the root is the empty set. Sets are never changed, and share parts.
Contract: https://kubernetes.io/docs/reference/using-api/server-side-apply and `kubectl explain
deployment.metadata.managedFields.fieldsV1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.api.codec import decode
from rollout.sandbox.schema.fields import compact

FieldSet = dict[str, Any]

_LEAF: FieldSet = {}


def is_member(node: FieldSet) -> bool:
    return not node or "." in node


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in `a` or in `b`."""
    if not a or not b:
        return a or b
    return _union(a, b)


def _union(a: FieldSet, b: FieldSet) -> FieldSet:
    if a is b:
        return a
    if not a or not b:
        whole = a or b
        return whole if not whole or "." in whole else {".": _LEAF, **whole}
    result = dict(a)
    for key, node in b.items():
        mine = result.get(key)
        result[key] = node if mine is None else _union(mine, node)
    return result


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in `a` and not in `b`."""
    if not a or not b:
        return a
    return _children(_difference(a, b, root=True))


def _difference(a: FieldSet, b: FieldSet, *, root: bool = False) -> FieldSet | None:
    children: FieldSet = {}
    for key, node in a.items():
        if key == ".":
            continue
        other = b.get(key)
        rest = node if other is None else _difference(node, other)
        if rest is not None:
            children[key] = rest
    return _node(children, member=not root and is_member(a) and not is_member(b))


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in both."""
    if not a or not b:
        return {}
    return _children(_intersection(a, b, root=True))


def _intersection(a: FieldSet, b: FieldSet, *, root: bool = False) -> FieldSet | None:
    children: FieldSet = {}
    for key in a if len(a) <= len(b) else b:
        if key != "." and key in a and key in b:
            both = _intersection(a[key], b[key])
            if both is not None:
                children[key] = both
    return _node(children, member=not root and is_member(a) and is_member(b))


def _node(children: FieldSet, *, member: bool) -> FieldSet | None:
    if not children:
        return _LEAF if member else None
    return {".": _LEAF, **children} if member else children


def _children(node: FieldSet | None) -> FieldSet:
    return node or {}


def paths(tree: FieldSet, prefix: str = "") -> Iterator[str]:
    """The members, as conflicts print them: `.spec.containers[name="web"].image`."""
    below = [(key, node) for key, node in sorted(tree.items()) if key != "."]
    for key, node in below:
        if is_member(node):
            yield prefix + printed(key)
    for key, node in below:
        yield from paths(node, prefix + printed(key))


def printed(element: str) -> str:
    """A path element as kube-apiserver prints it."""
    kind, _, text = element.partition(":")
    match kind:
        case "f":
            return f".{text}"
        case "k":
            keys = decode(text)
            return "[" + ",".join(f"{key}={compact(keys[key])}" for key in sorted(keys)) + "]"
        case "v":
            return f"[={text}]"
        case _:
            return f"[{text}]"
