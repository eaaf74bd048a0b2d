"""Table answers: the columns that `kubectl get` prints, computed by the server.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rollout.sandbox.http.rendering import metadata_only
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]


def table(served: Served, items: Iterable[Object], version: str, include: str, meta: Object) -> Object:
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Created", "type": "date", "format": "", "description": "", "priority": 0},
        ],
        "rows": [
            {"cells": [i["metadata"]["name"], i["metadata"]["creationTimestamp"]], "object": metadata_only(i)}
            for i in items
        ],
    }


class EventTables:
    def __init__(self, served: Served, version: str, include: str) -> None:
        self._a = (version, include)
        self._served = served

    def of(self, type: str, obj: Object) -> Object:
        return obj if type == "ERROR" else table(self._served, [obj], *self._a, {})
