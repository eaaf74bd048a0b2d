"""Objects as trees of owned fields: which fields an object sets, how two differ, how they merge.

What counts as one field follows the schema as in server-side apply: objects are granular unless
`x-kubernetes-map-type: atomic`; lists are one field unless their list-type is `map` (items by key) or `set`
(items by value). Where the schema says nothing (None) objects are granular and lists are one field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from operator import is_
from typing import Any

from rollout.errors import BadRequest
from rollout.sandbox.schema.fields import compact
from rollout.sandbox.schema.fieldsets import FieldSet, difference, is_member, printed
from rollout.sandbox.schema.kinds import STRUCT

Schema = Mapping[str, Any]

_LEAF: FieldSet = {}


class DuplicateItem(ValueError):
    """Two items of a list have the same key, or one has no key; says which element."""


def _is_map(value: Any, schema: Schema | None) -> bool:
    return isinstance(value, dict) and not (schema and schema.get("x-kubernetes-map-type") == "atomic")


def _is_list(value: Any, schema: Schema | None) -> bool:
    return isinstance(value, list) and bool(schema) and _list_type(schema) in {"map", "set"}


def _list_type(schema: Schema | None) -> str:
    return str(schema.get("x-kubernetes-list-type", "atomic")) if schema else "atomic"


def _below(schema: Schema | None, key: str) -> tuple[Schema | None, bool]:
    """The schema of a field, and whether it is a named field of a structure (not an entry of a map)."""
    if not schema:
        return None, False
    properties = schema.get("properties")
    if properties and key in properties:
        return properties[key], True
    others = schema.get("additionalProperties")
    return (others if isinstance(others, dict) else None), False


def elements(items: list[Any], schema: Schema) -> dict[str, Any]:
    """The items of a granular list by path element. DuplicateItem when they have no distinct keys."""
    found: dict[str, Any] = {}
    is_set = _list_type(schema) == "set"
    keys: list[str] = [] if is_set else schema.get("x-kubernetes-list-map-keys") or []
    described = (schema.get("items") or {}).get("properties") or {}
    for item in items:
        name = f"v:{compact(item)}" if is_set else _key_element(item, keys, described)
        if name in found:
            raise DuplicateItem(f"duplicate entries for key {printed(name)}")
        found[name] = item
    return found


def _key_element(item: Any, keys: list[str], described: Mapping[str, Any]) -> str:
    if not isinstance(item, dict):
        raise DuplicateItem(f"associative list with keys may not have non-map element {compact(item)}")
    if len(keys) == 1 and isinstance(name := item.get(keys[0]), str):
        return f'k:{{"{keys[0]}":{encode_basestring(name)}}}'  # nearly all lists, and fast
    values: dict[str, Any] = {}
    for key in keys:
        value = item.get(key)
        if value is None:
            value = (described.get(key) or {}).get("default")
        if value is None and len(keys) == 1:
            raise DuplicateItem(
                f'associative list with keys has an element that omits key field "{key}" '
                "(and doesn't have default value)"
            )
        if value is not None:
            values[key] = value
    return f"k:{compact(values)}"


# -- the fields an applied configuration sets ----------------------------------------------------


def field_set(value: Any, schema: Schema | None, path: str = "") -> FieldSet:
    """The fields that `value` sets. BadRequest when items of a granular list cannot be told apart."""
    return _applied(value, schema, path) or {}


def _applied(value: Any, schema: Schema | None, path: str) -> FieldSet | None:
    """The node of `value`; None when it sets nothing by itself (an empty granular list, or only such in it)."""
    if _is_map(value, schema):
        children: FieldSet = {}
        for key, inner in value.items():
            below, named = _below(schema, key)
            node = _applied(inner, below, f"{path}.{key}")
            if node is None:
                if named:
                    continue
                node = _LEAF
            elif node and not named:
                node = {".": _LEAF, **node}
            children[f"f:{key}"] = node
        return children or (None if value or not path else _LEAF)
    if schema and _is_list(value, schema):
        try:
            items = elements(value, schema)
        except DuplicateItem as error:
            raise BadRequest(f"failed to create typed patch object: {path}: {error}") from error
        nodes: FieldSet = {}
        for name, item in items.items():
            node = _applied(item, schema.get("items"), path + printed(name))
            nodes[name] = {".": _LEAF, **node} if node else _LEAF
        return nodes or None
    return _LEAF


# -- what changed between two objects ------------------------------------------------------------


def compare(old: Any, new: Any, schema: Schema | None) -> tuple[FieldSet, FieldSet]:
    """(fields added or modified, fields removed) between two versions of an object."""
    changed, removed = _compare(old, new, schema)
    return changed or {}, removed or {}


Pair = tuple[FieldSet | None, FieldSet | None]
_SAME: Pair = (None, None)
_MODIFIED: Pair = (_LEAF, None)


def _compare(old: Any, new: Any, schema: Schema | None) -> Pair:
    """The nodes of two values that both exist."""
    if old is new or old == new:
        return _SAME
    if isinstance(old, dict) and _is_map(new, schema):
        return _compare_maps(old, new, schema) if old or new else _SAME
    if isinstance(old, list) and schema and _is_list(new, schema):
        try:
            before, after = elements(old, schema), elements(new, schema)
        except DuplicateItem:
            return _MODIFIED
        return _compare_items(before, after, schema.get("items"))
    return _MODIFIED


def _compare_maps(old: dict[str, Any], new: dict[str, Any], schema: Schema | None) -> Pair:
    changed: FieldSet = {}
    removed: FieldSet = {}
    for key, value in new.items():
        before = old.get(key)
        if before is value:
            continue
        below, _ = _below(schema, key)
        if before is None and key not in old:
            empty = _always_there(schema, below, key)
            if empty is None:
                changed[f"f:{key}"] = everything(value, below)
                continue
            before = empty
        gained, lost = _compare(before, value, below)
        if gained is not None:
            changed[f"f:{key}"] = gained
        if lost is not None:
            removed[f"f:{key}"] = lost
    for key, value in old.items():
        if key in new:
            continue
        below, _ = _below(schema, key)
        empty = _always_there(schema, below, key)
        if empty is None:
            removed[f"f:{key}"] = everything(value, below)
            continue
        gained, lost = _compare(value, empty, below)
        if gained is not None:
            changed[f"f:{key}"] = gained
        if lost is not None:
            removed[f"f:{key}"] = lost
    return changed or None, removed or None


def _compare_items(before: dict[str, Any], after: dict[str, Any], items: Schema | None) -> Pair:
    changed: FieldSet = {}
    removed: FieldSet = {}
    for name, value in after.items():
        if name not in before:
            changed[name] = everything(value, items)
            continue
        gained, lost = _compare(before[name], value, items)
        if gained is not None:
            changed[name] = gained
        if lost is not None:
            removed[name] = lost
    for name in before.keys() - after.keys():
        removed[name] = everything(before[name], items)
    return changed or None, removed or None


_ZEROS: dict[str, Any] = {"array": [], "boolean": False, "integer": 0, "number": 0, "string": ""}


def _always_there(parent: Schema | None, below: Schema | None, key: str) -> Any:
    """The empty value of a field that Kubernetes always writes although nobody set it; None for others."""
    if not below or not parent:
        return None
    if STRUCT in below:
        return {}
    if STRUCT not in parent or key not in parent.get("required", ()):
        return None
    return _ZEROS.get(str(below.get("type")))


def everything(value: Any, schema: Schema | None) -> FieldSet:
    """The node of a value that came or went as a whole: containers are fields of their own too."""
    if isinstance(value, dict):
        if not value or not _is_map(value, schema):
            return _LEAF
        node: FieldSet = {".": _LEAF}
        for key, inner in value.items():
            if isinstance(inner, (dict, list)):
                node[f"f:{key}"] = everything(inner, _below(schema, key)[0])
            else:
                node[f"f:{key}"] = _LEAF
        return node
    if value and schema and _is_list(value, schema):
        try:
            items = elements(value, schema)
        except DuplicateItem:
            return _LEAF
        below = schema.get("items")
        return {".": _LEAF, **{name: everything(item, below) for name, item in items.items()}}
    return _LEAF


# -- merging an applied configuration into an object ---------------------------------------------


def merge(old: Any, new: Any, schema: Schema | None) -> Any:
    """`old` with the fields of `new`: granular parts merge, everything else is replaced."""
    if isinstance(old, dict) and _is_map(new, schema):
        result = dict(old)
        for key, value in new.items():
            result[key] = merge(old[key], value, _below(schema, key)[0]) if key in old else value
        return result
    if isinstance(old, list) and schema and _is_list(new, schema):
        try:
            mine, theirs = elements(old, schema), elements(new, schema)
        except DuplicateItem:
            return new
        below = schema.get("items")
        return [
            merge(mine[name], theirs[name], below)
            if name in mine and name in theirs
            else theirs[name]
            if name in theirs
            else mine[name]
            for name in _woven(list(mine), list(theirs))
        ]
    return new


def _woven(old: list[str], new: list[str]) -> Iterator[str]:
    """The order of a merged list: `new`'s order for its items, others beside the neighbours they had."""
    in_old, in_new = set(old), set(new)
    shared = (name for name in new if name in in_old)
    awaited = next(shared, None)
    left = right = 0
    while left < len(old) or right < len(new):
        if left < len(old) and right < len(new):
            name = old[left]
            if name == new[right]:
                yield name
                left, right, awaited = left + 1, right + 1, next(shared, None)
                continue
            if name in in_new and name != awaited:
                left += 1  # comes later, at its place in the new order
                continue
        if left < len(old) and old[left] not in in_new:
            yield old[left]
            left += 1
        elif right < len(new):
            name = new[right]
            yield name
            right += 1
            if name == awaited:
                awaited = next(shared, None)
        else:
            left += 1


# -- removing what is no longer applied ----------------------------------------------------------


def prune(value: Any, last: FieldSet, owned: FieldSet, schema: Schema | None) -> Any:
    """`value` without the fields in `last` that nobody has in `owned`.

    A named structure counts as owned while anything below it is. What loses all that was in it is for
    `without_emptied` to take out: until then its owners are those of an empty value.
    """
    if _is_map(value, schema):
        result = dict(value)
        for element, node in last.items():
            key = element[2:]
            if not element.startswith("f:") or key not in value:
                continue
            below, named = _below(schema, key)
            kept = _pruned(value[key], node, owned.get(element), below, named=named)
            if kept is _GONE:
                del result[key]
            elif not kept and value[key] and STRUCT not in (below or {}):
                result[key] = _EMPTY_MAP if isinstance(kept, dict) else _EMPTY_LIST
            else:
                result[key] = kept
        return result
    if schema and _is_list(value, schema):
        try:
            items = elements(value, schema)
        except DuplicateItem:
            return value
        for element, node in last.items():
            if element in items:
                kept = _pruned(items[element], node, owned.get(element), schema.get("items"), named=False)
                if kept is _GONE:
                    del items[element]
                else:
                    items[element] = kept
        return list(items.values())
    return value


_GONE: Any = object()
_EMPTY_MAP: dict[str, Any] = {}
_EMPTY_LIST: list[Any] = []


def without_emptied(value: Any) -> Any:
    """`value` without the fields that `prune` emptied."""
    if isinstance(value, dict):
        kept = {
            key: without_emptied(inner)
            for key, inner in value.items()
            if inner is not _EMPTY_MAP and inner is not _EMPTY_LIST
        }
        same = len(kept) == len(value) and all(kept[key] is value[key] for key in kept)
        return value if same else kept
    if isinstance(value, list):
        items = [without_emptied(item) for item in value]
        return value if all(map(is_, items, value)) else items
    return value


def _pruned(value: Any, last: FieldSet, owned: FieldSet | None, schema: Schema | None, *, named: bool) -> Any:
    mine = named or is_member(last)
    held = owned is not None and (named or is_member(owned))
    if mine and not held:
        return _GONE
    return prune(value, last, owned or {}, schema) if last else value


def agreed(fields: FieldSet, a: Any, b: Any, schema: Schema | None) -> FieldSet:
    """The part of `fields` (all set in `a`) whose values `b` has too."""
    changed, removed = compare(a, b, schema)
    return difference(difference(fields, changed), removed)
