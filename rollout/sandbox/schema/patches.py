"""The three patch types of the Kubernetes API, as pure functions.

JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), and strategic merge patch
(https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md).
Inputs are never changed; a result may share parts with them, so treat all of them as read-only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rollout.errors import BadRequest, Invalid, Unclassified
from rollout.sandbox.schema.correlate import same
from rollout.sandbox.schema.decoding import shown
from rollout.sandbox.schema.fields import clone, compact, go_text

Schema = Mapping[str, Any]


# -- JSON Merge Patch --------------------------------------------------------------------------


def merge_patch(obj: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects merge, everything else replaces.

    As in kube-apiserver's library, what comes in place of anything but an object is new all the way down: nulls in the
    objects of its lists are left out, too.
    """
    if not isinstance(obj, Mapping):
        return _without_nulls(patch)
    if not isinstance(patch, Mapping):
        return patch
    result = dict(obj)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _without_nulls(value: Any) -> Any:
    """Without the fields that are null; elements of lists may be."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


# -- JSON Patch --------------------------------------------------------------------------------


_MAX_OPERATIONS = 10_000


def json_patch(obj: Any, ops: Any) -> Any:
    """RFC 6902. BadRequest when the patch is malformed; Invalid (422) when it does not fit `obj` or a
    `test` fails, in kube-apiserver's words; the reason, which these do not tell, is a note of the error."""
    if not isinstance(ops, list) or not all(isinstance(op, Mapping) for op in ops):
        found = shown(next(op for op in ops if not isinstance(op, Mapping)) if isinstance(ops, list) else ops)
        into = "handlers.jsonPatchOp" if isinstance(ops, list) else "[]handlers.jsonPatchOp"
        raise BadRequest(f"error decoding patch: json: cannot unmarshal {found} into Go value of type {into}")
    if len(ops) > _MAX_OPERATIONS:
        raise BadRequest(
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(ops)}"
        )
    result = clone(obj)
    for op in ops:
        result = _operation(result, op)
    return result


def _operation(doc: Any, op: Mapping[str, Any]) -> Any:
    name, path = op.get("op"), _pointer(op, "path")
    match name:
        case "test":
            if not same(_get(doc, path, op), op.get("value")):
                raise _rejected(op, "testing value failed")
            return doc
        case "remove":
            return _remove(doc, path, op)
        case "replace":
            # as evanphx/json-patch of kube-apiserver: a field that is missing is added
            if path and not isinstance(_get(doc, path[:-1], op), dict):
                _get(doc, path, op)
            return _put(doc, path, clone(op.get("value")), op, insert=False)
        case "add":
            return _put(doc, path, clone(op.get("value")), op, insert=True)
        case "copy":
            start = _pointer(op, "from")
            parent = _get(doc, start[:-1], op)
            # as evanphx/json-patch: a field that is missing is copied as null
            source = (
                None
                if start and isinstance(parent, dict) and start[-1] not in parent
                else _get(doc, start, op)
            )
            return _put(doc, path, clone(source), op, insert=True)
        case "move":
            start = _pointer(op, "from")
            if path[: len(start)] == start and path != start:
                raise _rejected(op, "a value cannot be moved into itself")
            moved = _get(doc, start, op)
            return _put(_remove(doc, start, op), path, moved, op, insert=True)
        case _:
            raise _rejected(op, f"unexpected kind: {name}")


def _rejected(op: Mapping[str, Any], why: str) -> Invalid:
    """kube-apiserver does not say which operation failed, nor why: that is a note, for who reads a traceback."""
    refusal = Invalid("the server rejected our request due to an error in our request", {})
    refusal.add_note(f"{op.get('op')} operation at {op.get('path')!r}: {why}")
    return refusal


def _pointer(op: Mapping[str, Any], field: str) -> list[str]:
    """The parts of a JSON pointer (RFC 6901)."""
    text = op.get(field)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _rejected(op, f'"{field}" must be a JSON pointer such as "/metadata/labels/app"')
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(part: str, limit: int, op: Mapping[str, Any]) -> int:
    """An array index up to and including `limit`."""
    if not (part.isascii() and part.isdigit()) or (part != "0" and part.startswith("0")) or len(part) > 9:
        raise _rejected(op, f"{part!r} is not an array index")
    if (number := int(part)) > limit:
        raise _rejected(op, f"index {number} is out of bounds")
    return number


def _get(doc: Any, path: list[str], op: Mapping[str, Any]) -> Any:
    for part in path:
        if isinstance(doc, dict) and part in doc:
            doc = doc[part]
        elif isinstance(doc, list):
            doc = doc[_index(part, len(doc) - 1, op)]
        elif op.get("op") == "test" and isinstance(doc, dict):
            return None  # as evanphx/json-patch: a missing field equals null in a test
        else:
            raise _rejected(op, f"{part!r} does not exist")
    return doc


def _put(doc: Any, path: list[str], value: Any, op: Mapping[str, Any], *, insert: bool) -> Any:
    """Set the place that `path` names, in a document that is ours to change."""
    if not path:
        return value
    parent, part = _get(doc, path[:-1], op), path[-1]
    if isinstance(parent, dict):
        parent[part] = value
    elif not isinstance(parent, list):
        raise _rejected(op, f"the parent of {part!r} is neither an object nor an array")
    elif not insert:
        parent[_index(part, len(parent) - 1, op)] = value
    else:
        parent.insert(len(parent) if part == "-" else _index(part, len(parent), op), value)
    return doc


def _remove(doc: Any, path: list[str], op: Mapping[str, Any]) -> Any:
    if not path:
        return None
    parent, part = _get(doc, path[:-1], op), path[-1]
    if isinstance(parent, dict) and part in parent:
        del parent[part]
    elif isinstance(parent, list):
        del parent[_index(part, len(parent) - 1, op)]
    else:
        raise _rejected(op, f"{part!r} does not exist")
    return doc


# -- strategic merge patch ---------------------------------------------------------------------


_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(obj: Any, patch: Any, schema: Schema) -> Any:
    """Apply a strategic merge patch by the patch strategies in `schema` (a resolved OpenAPI schema).

    BadRequest for a malformed directive, or a list item without its merge key.
    """
    if not isinstance(patch, Mapping):
        raise BadRequest(
            f"json: cannot unmarshal {shown(patch)} into Go value of type map[string]interface {{}}"
        )
    return _merge_map(obj if isinstance(obj, Mapping) else {}, patch, schema)


def _merge_map(obj: Mapping[str, Any], patch: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    match patch.get(_DIRECTIVE, "merge"):
        case "replace":
            return dict(_fresh({key: value for key, value in patch.items() if key != _DIRECTIVE}))
        case "delete":
            return {}
        case "merge":
            pass
        case other:
            raise Unclassified(f"unknown patch type: {go_text(other)} in map: {go_text(patch)}")
    result = _retained(obj, patch)
    for key, value in patch.items():
        if key in {_DIRECTIVE, _RETAIN} or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE_PRIMITIVES):
            name = key.removeprefix(_DELETE_PRIMITIVES)
            if isinstance(result.get(name), list):
                result[name] = [x for x in result[name] if not _contains(_list(value, key), x)]
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and _DIRECTIVE in value and key not in obj:
            _merge_map({}, value, {})  # refuses an unknown directive; what is not there is not replaced
        else:
            result[key] = _merge_value(result.get(key), value, _below(schema, key))
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if name != key and order and isinstance(patch.get(name), list):
            _check_order(patch[name], _list(order, key), _merge_key(_below(schema, name)))
        if name != key and isinstance(result.get(name), list):
            before = obj.get(name)
            result[name] = _ordered(
                result[name],
                _list(order, key),
                before if isinstance(before, list) else [],
                _merge_key(_below(schema, name)),
            )
    return result


def _check_order(items: list[Any], order: list[Any], key: str) -> None:
    """The items that a patch brings must stand in the order that it asks for."""

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, Mapping) else item

    left = [item for item in items if not key or _directive(item) != "delete"]
    for wanted in order:
        if left and same(name(left[0]), name(wanted)):
            left.pop(0)
    if left:
        raise Unclassified(
            f"The order in patch list:\n{go_text(items)}\n doesn't match {_ORDER} list:\n{go_text(order)}\n"
        )


def _retained(obj: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    if _RETAIN not in patch:
        return dict(obj)
    keep = _list(patch[_RETAIN], _RETAIN)
    for key, value in patch.items():
        if not key.startswith("$") and value is not None and key not in keep:
            raise BadRequest(f"{_RETAIN} directive does not name the key {key!r} that the patch sets")
    return {key: value for key, value in obj.items() if key in keep}


def _merge_value(old: Any, new: Any, schema: Schema) -> Any:
    if isinstance(new, Mapping):
        if "replace" in _strategies(schema) and _DIRECTIVE not in new:
            return _fresh(new)
        return _merge_map(old if isinstance(old, Mapping) else {}, new, schema)
    if isinstance(new, list):
        return _merge_list(old if isinstance(old, list) else [], new, schema)
    return new


def _merge_list(old: list[Any], new: list[Any], schema: Schema) -> list[Any]:
    if "merge" not in _strategies(schema):
        return list(_fresh(new))
    key = _merge_key(schema)
    if not key:
        added = [item for position, item in enumerate(new) if not _contains(old + new[:position], item)]
        return _ordered(old + added, new, old, "")
    if any(_directive(item) == "replace" for item in new):
        return list(_fresh(new))
    items: Schema = schema.get("items") or {}
    result = list(old)
    for item in new:
        if not isinstance(item, Mapping) or key not in item:
            raise Unclassified(f"map: {go_text(item)} does not contain declared merge key: {key}")
        matches = [
            i for i, have in enumerate(result) if isinstance(have, Mapping) and have.get(key) == item[key]
        ]
        if _directive(item) == "delete":
            result = [have for i, have in enumerate(result) if i not in matches]
        elif matches:
            result[matches[0]] = _merge_map(result[matches[0]], item, items)
        else:
            result.append(_merge_map({}, item, items))
    return _ordered(result, new, old, key)


def _ordered(items: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """Items named by `order` in that order, woven with the others, which keep the order of `before`.

    Of the two heads the other one goes first only when both were in `before` and it stood in front
    there; so items new to the list end up before those that the patch does not name.
    """

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, Mapping) else item

    def place(names: list[Any], item: Any) -> int:
        return next((i for i, one in enumerate(names) if same(one, name(item))), -1)

    wanted, had = [name(item) for item in order], [name(item) for item in before]
    named = sorted((item for item in items if place(wanted, item) >= 0), key=lambda i: place(wanted, i))
    others = sorted((item for item in items if place(wanted, item) < 0), key=lambda i: place(had, i))
    result: list[Any] = []
    while named and others:
        left, right = place(had, named[0]), place(had, others[0])
        result.append((others if 0 <= right < left else named).pop(0))
    return result + named + others


def _contains(values: Iterable[Any], value: Any) -> bool:
    return any(same(one, value) for one in values)


def _list(value: Any, directive: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{directive} must be a list, got {compact(value)}")
    return value


def _below(schema: Schema, key: str) -> Schema:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and isinstance(properties.get(key), Mapping):
        found: Schema = properties[key]
        return found
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, Mapping) else {}


def _strategies(schema: Schema) -> list[str]:
    return str(schema.get("x-kubernetes-patch-strategy", "")).split(",")


def _merge_key(schema: Schema) -> str:
    return str(schema.get("x-kubernetes-patch-merge-key", ""))


def _directive(item: Any) -> Any:
    """What an item of a patched list is for: "merge" (also of items that are no objects), "delete", "replace"."""
    return item.get(_DIRECTIVE, "merge") if isinstance(item, Mapping) else "merge"


_NOTHING: Any = object()


def _fresh(value: Any) -> Any:
    """New content: without nulls and directives; an object that is one itself (`$patch`) is _NOTHING."""
    if isinstance(value, Mapping):
        if _DIRECTIVE in value:
            return _NOTHING
        inner = {key: _fresh(one) for key, one in value.items() if one is not None and not _is_directive(key)}
        return {key: one for key, one in inner.items() if one is not _NOTHING}
    if isinstance(value, list):
        return [one for one in map(_fresh, value) if one is not _NOTHING]
    return value


def _is_directive(key: str) -> bool:
    return key in {_DIRECTIVE, _RETAIN} or key.startswith((_DELETE_PRIMITIVES, _ORDER))
