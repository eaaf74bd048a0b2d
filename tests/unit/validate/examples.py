"""The manifests that users have today, as plain objects."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[3] / "examples"


def documents(name: str) -> list[dict[str, Any]]:
    return [doc for doc in yaml.safe_load_all((FOLDER / name).read_text()) if doc]


_CANARY = documents("rollout-canary-istio.yaml")[0]
_BLUE_GREEN = documents("rollout-bluegreen.yaml")[0]
_BY_ROUTE = documents("rollout-gateway.yaml")[-1]


def canary() -> dict[str, Any]:
    return deepcopy(_CANARY)


def blue_green() -> dict[str, Any]:
    return deepcopy(_BLUE_GREEN)


def by_route() -> dict[str, Any]:
    """A canary by an HTTPRoute."""
    return deepcopy(_BY_ROUTE)


def edited(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`base` with the field at a dotted path set; `DELETE` removes it. List places are numbers."""
    *above, last = path.split(".")
    here: Any = base
    for part in above:
        here = here[int(part)] if part.isdigit() else here.setdefault(part, {})
    if value is DELETE:
        del here[last]
    elif isinstance(here, list):
        here[int(last)] = value
    else:
        here[last] = value
    return base


DELETE: Any = object()
