"""Transcripts without what no two servers have in common: uids, times, versions, addresses, names by chance.

What is the same within one transcript stays the same: the second uid is `uid-2` wherever it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from tests.conformance.exchanges.furniture import GROUP
from tests.conformance.exchanges.play import Exchange

Json = Any
_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ADDRESS = re.compile(r"\b10\.\d+\.\d+\.\d+\b")
_VERSIONS = re.compile(
    r"(?<=resource version: )\d+( \(\d+\))?|(?<=current: )\d+|(?<=precondition \()\d+|(?<=record \()\d+"
    r'|(?<=resourceVersion\\":\\")\d+'  # of an object that a refusal quotes
)
_TOKENS = re.compile(r"\bkube-api-access-[a-z0-9]{5}\b")
"""The volume that admission gives to a pod, its name by chance."""
_AGES = {"Age", "Last Seen", "First Seen"}


class _Names:
    """Numbers things in the order in which they are first seen."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: dict[str, str] = {}

    def __call__(self, thing: str) -> str:
        return self._seen.setdefault(thing, f"{self._prefix}-{len(self._seen) + 1}")


class _Normal:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._uid = _Names("uid")
        self._version = _Names("version")
        self._ages: set[int] = set()
        """Where ages stand in the rows of the Table at hand; only the first of a watch names its columns."""

    def of(self, value: Json, key: str = "") -> Json:
        match value:
            case dict():
                return self._object(value)
            case list():
                found = [self.of(one) for one in value]
                order = _UNORDERED.get(key)
                return sorted(found, key=order) if order else found
            case str():
                return self._text(value)
            case _:
                return "PORT" if key in {"nodePort", "healthCheckNodePort"} and value else value

    def _object(self, value: dict[str, Json]) -> Json:
        kind = str(value.get("kind", ""))
        if kind == "Table":
            value = self._plain_table(value)
        if kind == "Status":
            value = _ordered_causes(value)
        many = kind.endswith("List") or kind == "Table"
        out = {}
        for name, one in sorted(value.items()):
            key = self._text(name)
            if key == "storageVersionHash":  # `rollout sandbox gaps` says so
                continue
            if key == "metadata" and isinstance(one, dict):
                out[key] = self._metadata(one, many=many)
            elif key == "object" and value.get("type") == "BOOKMARK":
                out[key] = self._object({**one, "metadata": {**one["metadata"], "resourceVersion": "ANY"}})
            else:
                out[key] = self.of(one, key)
        return out

    def _metadata(self, meta: dict[str, Json], *, many: bool) -> Json:
        out = {key: self.of(one, key) for key, one in sorted(meta.items())}
        version = meta.get("resourceVersion")
        if isinstance(version, str) and version.isdigit():
            out["resourceVersion"] = "VERSION" if many else self._version(version)
        if meta.get("continue"):
            out["continue"] = "TOKEN"
        if (prefix := meta.get("generateName")) and str(meta.get("name", "")).startswith(prefix[:58]):
            out["name"] = f"{self._text(prefix[:58])}CHANCE({len(meta['name'])})"
        return out

    def _text(self, text: str) -> str:
        text = text.replace(self._namespace, "NAMESPACE")
        text = _UID.sub(lambda found: self._uid(found[0]), text)
        text = _TIME.sub(lambda found: "MICROTIME" if found[1] else "TIME", text)
        text = _VERSIONS.sub("VERSION", text)
        text = _TOKENS.sub("kube-api-access-CHANCE", text)
        return _ADDRESS.sub("ADDRESS", text)

    def _plain_table(self, table: dict[str, Json]) -> dict[str, Json]:
        """Without ages, and without the columns' descriptions, which nobody prints (`rollout sandbox gaps` says so)."""
        columns = table.get("columnDefinitions") or []
        if columns:
            self._ages = {index for index, one in enumerate(columns) if one["name"] in _AGES}
        rows = [
            {**row, "cells": ["AGE" if at in self._ages else cell for at, cell in enumerate(row["cells"])]}
            for row in table.get("rows") or []
        ]
        plain = [{**column, "description": ""} for column in columns]
        return {**table, "columnDefinitions": plain, "rows": rows}


def _manager(entry: Json) -> tuple[str, ...]:
    """managedFields come in the order of their times, which are whole seconds."""
    return tuple(str(entry.get(key)) for key in ("manager", "operation", "subresource", "fieldsV1"))


def _resource(entry: Json) -> str:
    return str(entry.get("name")) if isinstance(entry, dict) else str(entry)


_UNORDERED = {"managedFields": _manager, "verbs": str, "resources": _resource}


def _ordered_causes(status: dict[str, Json]) -> dict[str, Json]:
    """What is wrong with a custom resource, field by field: kube-apiserver finds it in the order of a Go map."""
    details = status.get("details") or {}
    if details.get("group") != GROUP or "causes" not in details:
        return status
    causes = sorted(details["causes"], key=_words)
    found, ordered = (", ".join(map(_words, some)) for some in (details["causes"], causes))
    message = status["message"].replace(found, ordered)
    return {**status, "message": message, "details": {**details, "causes": causes}}


def _words(cause: dict[str, str]) -> str:
    return f"{cause.get('field')}: {cause.get('message')}"


def transcript(exchanges: Iterable[Exchange], namespace: str) -> list[str]:
    """Lines of text, equal for two servers that answered alike."""
    normal = _Normal(namespace)
    lines: list[str] = []
    for one in exchanges:
        lines.append(normal.of(one.request))
        lines.append(f"  {one.status} {normal.of(dict(one.headers))}")
        text = json.dumps(normal.of(one.body), indent=1, sort_keys=True, ensure_ascii=False)
        lines += [f"  {line}" for line in text.splitlines()]
    return lines
