"""Table answers: the columns that `kubectl get` prints, computed by the server.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from rollout.sandbox.http.rendering import metadata_only
from rollout.sandbox.schema import columns
from rollout.sandbox.storage import Served

Object = dict[str, Any]
Include = Literal["None", "Metadata", "Object"]


class Tables:
    """Makes tables of one resource. `include` is what rows carry of their objects."""

    def __init__(self, served: Served, version: str, include: Include, now: Callable[[], datetime]) -> None:
        self._served = served
        self._version = version
        self._include = include
        self._now = now
        self._described = False

    def of(self, items: Sequence[Object], meta: Object) -> Object:
        """A table of `items`; `meta` is the list's metadata."""
        resource = self._served.resource
        custom = None if self._served.builtin else self._served.columns
        definitions, rows = columns.table(
            resource.api_version, resource.kind, items, self._now(), columns=custom
        )
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self._version}",
            "metadata": meta,
            "columnDefinitions": definitions,
            "rows": [self._row(cells, obj) for cells, obj in zip(rows, items, strict=True)],
        }

    def of_event(self, kind: str, obj: Object) -> Object:
        """The object of a watch event: a table of one row. Only the first of a watch describes the columns."""
        if kind == "ERROR":
            return obj
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        if kind == "BOOKMARK":
            return self.of([], meta) | {"columnDefinitions": None}
        table = self.of([obj], meta)
        if self._described:
            table["columnDefinitions"] = None
        self._described = True
        return table

    def _row(self, cells: list[Any], obj: Object) -> Object:
        match self._include:
            case "None":
                return {"cells": cells, "object": None}
            case "Metadata":
                return {"cells": cells, "object": metadata_only(obj)}
            case "Object":
                return {"cells": cells, "object": obj}
