"""Field ownership: server-side apply, and `metadata.managedFields` of every other write.

Contract: https://kubernetes.io/docs/reference/using-api/server-side-apply. Both functions return a new object
with its managedFields; defaults that the server fills in afterwards belong to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.codec import decode
from rollout.api.meta import timestamp
from rollout.errors import BadRequest, Conflict
from rollout.sandbox.schema.fields import compact, quoted
from rollout.sandbox.schema.fieldsets import FieldSet, difference, intersection, paths, union
from rollout.sandbox.schema.structural import METADATA
from rollout.sandbox.schema.typed import Schema, agreed, compare, field_set, merge, prune, without_emptied

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT = "ancient-changes"
MAX_UPDATE_MANAGERS = 10

_UNOWNED = frozenset(
    {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation"}
    | {"managedFields", "resourceVersion"}
)
"""Fields of metadata that nobody owns."""


class Manager(msgspec.Struct, frozen=True):
    """Who owns fields. Appliers are the same manager in every version: their `api_version` is not part of it."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        text = quoted(self.name)
        if self.subresource:
            text += f" with subresource {quoted(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


class Owned(msgspec.Struct, frozen=True):
    """What a manager owns: the fields, the version they are named in, and when it last took some."""

    fields: FieldSet
    api_version: str
    time: str


Owners = dict[Manager, Owned]


def track(
    live: Object | None,
    new: Object,
    *,
    manager: str,
    schema: Schema | None,
    subresource: str = "",
    now: datetime,
    operation: str = "Update",
) -> Object:
    """`new` with the managedFields it has after `manager` wrote it over `live` (None: a creation).

    Fields that changed go to this manager, fields that went are nobody's. Objects whose managedFields were
    cleared (by writing `[]` or `[{}]`) stay untracked until the next apply.
    """
    wanted = None if subresource else (new.get("metadata") or {}).get("managedFields")
    if _is_reset(wanted):
        return _with_entries(new, [])
    stored = (live.get("metadata") or {}).get("managedFields") if live else None
    entries = wanted if wanted and wanted is not stored and _decoded(wanted) else stored
    if live is not None and not entries:
        return _with_entries(new, [])
    changed, removed = compare(_content(live), _content(new), _rooted(schema))
    if not changed and not removed:
        return _with_entries(new, entries or [])
    owners = _decoded(entries) or {}
    version = str(new.get("apiVersion", ""))
    me = Manager(manager, operation, "" if operation == "Apply" else version, subresource)
    mine = owners.get(me)
    _take(owners, union(changed, removed))
    if changed:
        before = mine.fields if mine else {}
        owners[me] = Owned(union(difference(before, removed), changed), version, timestamp(now))
    return _with_entries(new, _encoded(_capped(owners)))


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    schema: Schema | None,
    subresource: str = "",
    now: datetime,
) -> Object:
    """The object after `manager` applied the configuration `applied` (server-side apply).

    Raises Conflict when it would change fields of other managers and `force` is not set, with one cause
    per field; BadRequest when the configuration cannot be applied at all. Returns `live` itself when
    nothing changes.
    """
    _check(live, applied)
    schema = _rooted(schema)
    if live is not None and not _decoded((live.get("metadata") or {}).get("managedFields")):
        start = _without_entries(live)
        live = track(None, start, manager=BEFORE_FIRST_APPLY, schema=schema, subresource=subresource, now=now)
    me = Manager(manager, "Apply", "", subresource)
    upgrades = manager == "kubectl" and live is not None and LAST_APPLIED in _annotations(live)
    if upgrades and live is not None and not force:
        force = _is_upgrade(live, applied, me, schema, now)
    result = _apply(live, applied, me, schema, now, force=force)
    return _with_last_applied(result, applied) if upgrades else result


def _apply(
    live: Object | None, applied: Object, me: Manager, schema: Schema, now: datetime, *, force: bool
) -> Object:
    before = _without_entries(live or {})
    entries = (live or {}).get("metadata", {}).get("managedFields")
    owners = _decoded(entries) or {}
    last = owners.pop(me, None)
    held = field_set(_body(applied), schema)
    fields = _ownable(held)
    for owned in owners.values():
        held = union(held, owned.fields)
    new = merge(before, applied, schema)
    if last:
        new = prune(new, last.fields, held, schema)
    changed, removed = compare(_content(before), _content(new), schema)
    new = without_emptied(new)
    if not force and changed:
        _refuse_conflicts(owners, changed)
    _take(owners, union(changed, removed))
    unchanged = live is not None and not changed and not removed and new == before
    if fields:
        keep_time = unchanged and last is not None
        time = last.time if keep_time and last else timestamp(now)
        owners[me] = Owned(fields, str(applied.get("apiVersion", "")), time)
    encoded = _encoded(owners)
    return live if live is not None and unchanged and encoded == entries else _with_entries(new, encoded)


def _take(owners: Owners, fields: FieldSet) -> None:
    """Nobody owns `fields` any more; who owns nothing is gone."""
    if not fields:
        return
    for who, owned in list(owners.items()):
        rest = difference(owned.fields, fields)
        if not rest:
            del owners[who]
        elif rest is not owned.fields:
            owners[who] = Owned(rest, owned.api_version, owned.time)


def _refuse_conflicts(owners: Owners, changed: FieldSet) -> None:
    conflicts = {
        who: list(paths(both))
        for who, owned in sorted(owners.items(), key=lambda pair: str(pair[0]))
        if (both := intersection(owned.fields, changed))
    }
    if not conflicts:
        return
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, places in conflicts.items()
        for path in places
    ]
    if len(causes) == 1:
        summary = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        parts = (
            f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in places)
            for who, places in conflicts.items()
        )
        summary = f"{len(causes)} conflicts: " + "\n".join(parts)
    raise Conflict(f"Apply failed with {summary}", {"causes": causes})


def _check(live: Object | None, applied: Object) -> None:
    if (applied.get("metadata") or {}).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    if live is not None and applied.get("apiVersion") != live.get("apiVersion"):
        raise BadRequest(
            "Incorrect version specified in apply patch. Specified patch version: "
            f"{applied.get('apiVersion')}, expected: {live.get('apiVersion')}"
        )


# -- from client-side to server-side apply -------------------------------------------------------


def _is_upgrade(live: Object, applied: Object, me: Manager, schema: Schema, now: datetime) -> bool:
    """Whether all conflicts are over fields that `kubectl apply` (client-side) wrote as they still are."""
    try:
        last = decode(_annotations(live)[LAST_APPLIED])
    except (ValueError, TypeError):
        return False
    if not isinstance(last, dict) or last.get("apiVersion") != live.get("apiVersion"):
        return False
    content = _content(last)
    try:
        allowed = agreed(field_set(content, schema), content, _content(live), schema)
        _apply(live, applied, me, schema, now, force=False)
    except Conflict as error:
        places = set(paths(allowed))
        return all(cause["field"] in places for cause in (error.details or {})["causes"])
    except BadRequest:
        return False
    return False


def _with_last_applied(obj: Object, applied: Object) -> Object:
    """`obj` with kubectl's client-side annotation up to date, so that older clients can go on."""
    annotations = _annotations(obj)
    if LAST_APPLIED not in annotations:
        return obj
    meta = dict(applied.get("metadata") or {})
    meta["annotations"] = {key: value for key, value in _annotations(applied).items() if key != LAST_APPLIED}
    if not meta["annotations"]:
        del meta["annotations"]
    text = compact({**applied, "metadata": meta}) + "\n"
    if annotations[LAST_APPLIED] == text:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**annotations, LAST_APPLIED: text}}}


def _annotations(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


# -- managedFields on the wire -------------------------------------------------------------------


def _is_reset(entries: Any) -> bool:
    return isinstance(entries, list) and entries in ([], [{}])


def _decoded(entries: Any) -> Owners | None:
    """The owners that the entries name; None when there are none or one is malformed."""
    if not isinstance(entries, list) or not entries:
        return None
    owners: Owners = {}
    for entry in entries:
        if (
            not isinstance(entry, dict)
            or entry.get("fieldsType") != "FieldsV1"
            or not entry.get("apiVersion")
        ):
            return None
        operation, version = entry.get("operation"), str(entry["apiVersion"])
        if operation not in {"Apply", "Update"} or not isinstance(entry.get("fieldsV1", {}), dict):
            return None
        who = Manager(
            str(entry.get("manager", "")),
            operation,
            "" if operation == "Apply" else version,
            str(entry.get("subresource", "")),
        )
        owners[who] = Owned(entry.get("fieldsV1", {}), version, str(entry.get("time", "")))
    return owners


def _encoded(owners: Owners) -> list[Object]:
    """Entries in kube-apiserver's order: appliers first, then by time, manager, version, subresource."""
    order = sorted(
        owners.items(),
        key=lambda pair: (
            pair[0].operation,
            pair[1].time,
            pair[0].name,
            pair[1].api_version,
            pair[0].subresource,
        ),
    )
    return [_entry(who, owned) for who, owned in order]


def _entry(who: Manager, owned: Owned) -> Object:
    entry: Object = {"manager": who.name, "operation": who.operation, "apiVersion": owned.api_version}
    if owned.time:
        entry["time"] = owned.time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned.fields}
    if who.subresource:
        entry["subresource"] = who.subresource
    return entry


def _capped(owners: Owners) -> Owners:
    """At most ten managers that update: the oldest are merged into one per version."""
    updaters = sorted(
        (who for who in owners if who.operation == "Update"),
        key=lambda who: (owners[who].time, who.name, who.api_version, who.subresource),
    )
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return owners
    result = dict(owners)
    for who in updaters:
        if excess <= 0:
            break
        bucket = Manager(ANCIENT, "Update", who.api_version, "")
        if who == bucket:
            continue
        old, known = result.pop(who), result.get(bucket)
        if known is not None:
            excess -= 1
            old = Owned(union(known.fields, old.fields), old.api_version, max(known.time, old.time))
        result[bucket] = old
    return result


def _with_entries(obj: Object, entries: Iterable[Object]) -> Object:
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if listed := list(entries):
        meta["managedFields"] = listed
    return {**obj, "metadata": meta}


def _without_entries(obj: Object) -> Object:
    return _with_entries(obj, []) if "managedFields" in (obj.get("metadata") or {}) else obj


# -- what can be owned ---------------------------------------------------------------------------


def _content(obj: Object | None) -> Object:
    """`obj` without the fields that nobody owns."""
    if obj is None:
        return {"metadata": {}}
    result = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata"}}
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _UNOWNED}
    result["metadata"] = meta
    return result


def _body(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}


def _ownable(fields: FieldSet) -> FieldSet:
    """`fields` without those that nobody owns."""
    meta = {key: node for key, node in fields.get("f:metadata", {}).items() if key[2:] not in _UNOWNED}
    rest = {key: node for key, node in fields.items() if key != "f:metadata"}
    return {**rest, "f:metadata": meta} if meta.keys() - {"."} else rest


_OPEN: Schema = {"properties": {"metadata": METADATA}}


def _rooted(schema: Schema | None) -> Schema:
    """`schema` with a full description of metadata, which CRDs leave out."""
    if schema is None:
        return _OPEN
    properties = schema.get("properties") or {}
    if "ownerReferences" in ((properties.get("metadata") or {}).get("properties") or {}):
        return schema
    return {**schema, "properties": {**properties, "metadata": METADATA}}
