"""From a ChaosTemplate (or an inline spec) and arguments to a ChaosRun. Pure.

Arguments are those of an analysis (`rollout.core.arguments`): declared in the template's `args`, with or without a
value, and named in texts as `{{args.x}}`. Unlike there, an argument that is given but not declared is refused: a
misspelt "percent" must not leave the template's own in force unseen. Where a number or a truth value is wanted, a text
that is one is taken as one, so that `percent: "{{args.percent}}"` works.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rollout.api.analysis import Argument
from rollout.api.chaos import ChaosRunSpec, TemplateUse
from rollout.api.codec import plain, view
from rollout.api.fields import Field, fields_of
from rollout.api.meta import metadata
from rollout.api.resources import CHAOS_RUNS
from rollout.core import arguments, structure
from rollout.core.problem import invalid, raise_if_any, required
from rollout.errors import InvalidSpec

NAME_LIMIT = 63
"""Longest name of a run: it is also the value of a label."""
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_TRUTH = {"true": True, "false": False}


def spec_of(use: TemplateUse, template: Mapping[str, Any] | None, path: str) -> dict[str, Any]:
    """The spec of a run (plain data, valid in shape). `template` is the ChaosTemplate that `use` names, if it exists.

    Raises InvalidSpec, with paths below `path` (where `use` stands).
    """
    if bool(use.template_name) == (use.spec is not None):
        fix = "write templateName with args, or spec"
        raise InvalidSpec(str(required(path, "exactly one of templateName and spec is needed", fix)))
    if use.spec is not None:
        return filled(use.spec, use.args, f"{path}.spec", f"{path}.args")
    if template is None:
        rule = "there is no ChaosTemplate of this name in the namespace"
        fix = "create it, or correct the name"
        raise InvalidSpec(str(invalid(f"{path}.templateName", use.template_name, rule, fix)))
    where = f'ChaosTemplate "{use.template_name}" spec'
    spec = filled(template.get("spec") or {}, use.args, where, f"{path}.args")
    return spec | {"templateRef": {"name": use.template_name}}


def filled(
    spec: Mapping[str, Any], given: Iterable[Argument], path: str = "spec", args_path: str = "args"
) -> dict[str, Any]:
    """A run's spec with all arguments put in; those that come from Secrets stay placeholders.

    Raises InvalidSpec when an argument is missing or unknown, and when the result has not a run's shape.
    """
    given = tuple(given)
    declared = view({"args": spec.get("args") or ()}, ChaosRunSpec, path=path).args
    _known(given, {one.name for one in declared}, args_path)
    args = arguments.resolve_args(declared, given, source={})
    values = {one.name: one.value for one in args if one.value is not None}
    secrets = {one.name for one in args if one.value is None}
    body = {name: value for name, value in spec.items() if name != "args"}
    result = arguments.substitute(body, values, secrets, path)
    if args:
        result["args"] = [plain(one) for one in args]
    shape = fields_of(ChaosRunSpec)
    made: dict[str, Any] = typed(result, shape)
    raise_if_any(structure.check(made, shape, path))
    return made


def _known(given: Iterable[Argument], declared: set[str], path: str) -> None:
    known = ", ".join(sorted(declared)) or "none"
    raise_if_any(
        invalid(f"{path}[{index}].name", one.name, f"the template has no such argument; it has: {known}")
        for index, one in enumerate(given)
        if one.name not in declared
    )


def typed(value: Any, field: Field) -> Any:
    """`value` with texts turned into the numbers and truth values that `field` wants there; others are left alone."""
    if isinstance(value, Mapping) and field.type == "object":
        return {
            name: typed(member, field.fields[name]) if name in field.fields else member
            for name, member in value.items()
        }
    if isinstance(value, Mapping) and field.type == "map" and field.items is not None:
        return {name: typed(member, field.items) for name, member in value.items()}
    if isinstance(value, list) and field.items is not None:
        return [typed(member, field.items) for member in value]
    if not isinstance(value, str):
        return value
    match field.type:
        case "integer" if _WHOLE.fullmatch(value):
            return int(value)
        case "number" if _NUMBER.fullmatch(value):
            return float(value)
        case "boolean":
            return _TRUTH.get(value, value)
    return value


def run_object(
    name: str,
    spec: Mapping[str, Any],
    *,
    owner: Mapping[str, Any],
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The ChaosRun, in the namespace of its owner (an object as it came over the wire), which controls it."""
    meta = metadata(owner)
    return {
        "apiVersion": CHAOS_RUNS.api_version,
        "kind": CHAOS_RUNS.kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "annotations": dict(annotations or {}),
            "ownerReferences": [
                {
                    "apiVersion": owner["apiVersion"],
                    "kind": owner["kind"],
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": dict(spec),
    }


def bounded(stem: str, suffix: str) -> str:
    """`stem-suffix`; a stem that is too long is cut and told apart by a hash of all of it."""
    name = f"{stem}-{suffix}"
    return name if len(name) <= NAME_LIMIT else f"{_cut(stem, NAME_LIMIT - len(suffix) - 1)}-{suffix}"


def label_value(name: str) -> str:
    """A name as the value of a label, cut in the same way."""
    return name if len(name) <= NAME_LIMIT else _cut(name, NAME_LIMIT)


def _cut(text: str, limit: int) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: limit - len(digest) - 1].rstrip('-.')}-{digest}"
