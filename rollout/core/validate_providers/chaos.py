"""The body of the provider `chaos`: a ChaosTemplate with arguments, or a run's spec. The run itself is checked when it
is made, with all arguments in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.core.checks import check_fields
from rollout.core.problem import Problem, invalid, required

_FIELDS = frozenset({"templateName", "spec", "args"})


def check_chaos(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    name, spec = body.get("templateName"), body.get("spec")
    if bool(name) == (spec is not None):
        fix = "write templateName with args, or spec"
        yield required(path, "exactly one of templateName and spec is needed", fix)
    elif name and not isinstance(name, str):
        yield invalid(f"{path}.templateName", name, "must be the name of a ChaosTemplate")
    elif not name and not isinstance(spec, Mapping):
        yield invalid(f"{path}.spec", spec, "must be the spec of a ChaosRun")
    yield from _args(body.get("args"), f"{path}.args")


def _args(args: Any, path: str) -> Iterator[Problem]:
    if args is None:
        return
    if not isinstance(args, list):
        yield invalid(path, args, "must be a list of {name, value}")
        return
    seen: set[str] = set()
    for index, one in enumerate(args):
        where = f"{path}[{index}]"
        if (
            not isinstance(one, Mapping)
            or set(one) != {"name", "value"}
            or not all(isinstance(text, str) for text in one.values())
        ):
            fix = 'write for example {name: percent, value: "25"}'
            yield invalid(where, one, "must be a name and a value, both texts", fix)
        elif one["name"] in seen:
            yield invalid(f"{where}.name", one["name"], "is given twice", "remove one of the two")
        else:
            seen.add(one["name"])
