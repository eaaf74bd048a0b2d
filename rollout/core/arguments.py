"""Arguments of an analysis: where their values come from, and `{{args.x}}` in a metric.

Semantics: study/argo-rollouts.md 1.7. The value of a Secret never passes through here: a secret argument stays
a placeholder until the provider sends the request, and only where nobody can read it back (headers and
authentication; study/reliability.md 6).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from rollout.api.analysis import Argument
from rollout.core.problem import Problem, invalid, problems_of, raise_if_any, required
from rollout.errors import InvalidSpec

_PLACEHOLDER = re.compile(r"\{\{\s*args\.([^{}\s]+)\s*\}\}")
_STEP = re.compile(r"""\.?([A-Za-z0-9_-]+)|\[(?:'([^']*)'|"([^"]*)"|([0-9]{1,6}))\]""")
_SECRET_PLACES = re.compile(r"\.(headers\[\d+\]\.value|authentication(\..+)?)$")
MAX_ARGUMENT = 4096


def resolve_args(
    declared: Iterable[Argument],
    given: Iterable[Argument],
    *,
    source: Mapping[str, Any],
    stable_hash: str = "",
    latest_hash: str = "",
) -> tuple[Argument, ...]:
    """Every declared argument with its value, or with the reference to its Secret.

    `given` beats the default in `declared`. fieldRef paths are looked up in `source` (the Rollout as plain
    data). Raises InvalidSpec naming every argument that has no value.
    """
    handed = {argument.name: argument for argument in given}
    resolved: list[Argument] = []
    problems: list[Problem] = []
    for argument in declared:
        chosen = handed.get(argument.name, argument)
        try:
            resolved.append(_resolved(chosen, source, stable_hash, latest_hash))
        except InvalidSpec as error:
            problems += problems_of(error)
    raise_if_any(problems)
    return tuple(resolved)


def _resolved(argument: Argument, source: Mapping[str, Any], stable_hash: str, latest_hash: str) -> Argument:
    path = f"args[{argument.name}]"
    origin = argument.value_from
    if argument.value is not None:
        if origin is not None:
            raise InvalidSpec(str(invalid(path, argument.value, "has both value and valueFrom", "keep one")))
        return argument
    if origin is None:
        fix = "add it to the args of the analysis, or give the template a default"
        raise InvalidSpec(str(required(path, f'the argument "{argument.name}" has no value', fix)))
    if origin.secret_key_ref is not None:
        if not origin.secret_key_ref.name or not origin.secret_key_ref.key:
            raise InvalidSpec(str(required(f"{path}.valueFrom.secretKeyRef", "needs name and key")))
        return argument
    if origin.pod_template_hash_value is not None:
        hashes = {"Stable": stable_hash, "Latest": latest_hash}
        if origin.pod_template_hash_value not in hashes:
            where = f"{path}.valueFrom.podTemplateHashValue"
            value = origin.pod_template_hash_value
            raise InvalidSpec(str(invalid(where, value, "is neither Stable nor Latest")))
        return Argument(name=argument.name, value=hashes[origin.pod_template_hash_value])
    if origin.field_ref is not None:
        where = f"{path}.valueFrom.fieldRef.fieldPath"
        return Argument(name=argument.name, value=field(source, origin.field_ref.field_path, where))
    fix = "write secretKeyRef, fieldRef or podTemplateHashValue"
    raise InvalidSpec(str(required(f"{path}.valueFrom", "names no source", fix)))


def field(source: Mapping[str, Any], path: str, where: str) -> str:
    """The text at a field path such as `metadata.labels['app']` or `spec.template.spec.containers[0].image`.

    Raises InvalidSpec at `where` when the path cannot be read, leads nowhere, or ends at no scalar.
    """
    value: Any = source
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            rule = "is not a field path"
            raise InvalidSpec(str(invalid(where, path, rule, "write for example metadata.labels['app']")))
        at = step.end()
        name = next((part for part in step.groups()[:3] if part is not None), None)
        value = _child(value, name, step[4])
        if value is None:
            raise InvalidSpec(str(invalid(where, path, f"the object has no {path[:at]}")))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float) and at:
        return str(value)
    raise InvalidSpec(str(invalid(where, path, "is not a text or a number", "name a single value")))


def _child(value: Any, name: str | None, index: str | None) -> Any:
    if name is not None:
        return value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list | tuple) and index is not None and int(index) < len(value):
        return value[int(index)]
    return None


def substitute(
    metric: Mapping[str, Any], args: Mapping[str, str], secrets: Collection[str] = (), path: str = ""
) -> dict[str, Any]:
    """The metric (plain data) with every `{{args.x}}` replaced by `args["x"]`, wherever it stands in a text.

    A placeholder of an argument in `secrets` stays as it is, and is refused outside headers and
    authentication. Raises InvalidSpec for that, and for arguments that nobody declared.
    """
    problems: list[Problem] = []

    def replace(text: str, where: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in secrets:
                if not _SECRET_PLACES.search(where):
                    rule = f'the value of the Secret behind "{name}" would be readable here'
                    problems.append(invalid(where, text, rule, "use it in headers or authentication only"))
                return match[0]
            if name not in args:
                known = ", ".join(sorted({*args, *secrets})) or "none"
                fix = f"declare it in spec.args (there are: {known})"
                problems.append(invalid(where, match[0], f'there is no argument "{name}"', fix))
                return match[0]
            if len(args[name]) > MAX_ARGUMENT:
                problems.append(invalid(where, match[0], f"is longer than {MAX_ARGUMENT} characters"))
                return match[0]
            return args[name]

        return _PLACEHOLDER.sub(value, text)

    result = _mapped(metric, replace, path)
    raise_if_any(problems)
    assert isinstance(result, dict)
    return result


def reveal(text: str, secrets: Mapping[str, str]) -> str:
    """`text` with the placeholders of secret arguments replaced. For headers and credentials only."""
    return _PLACEHOLDER.sub(lambda match: secrets.get(match[1], match[0]), text)


def placeholders(metric: Mapping[str, Any]) -> frozenset[str]:
    """The names of the arguments that the metric asks for."""
    names: set[str] = set()

    def collect(text: str, _: str) -> str:
        names.update(_PLACEHOLDER.findall(text))
        return text

    _mapped(metric, collect, "")
    return frozenset(names)


def _mapped(value: Any, change: Callable[[str, str], str], path: str) -> Any:
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, Mapping):
        return {
            key: _mapped(item, change, f"{path}.{key}" if path else str(key)) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mapped(item, change, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def with_numbers(text: str) -> str:
    """`text` with a number for each placeholder: enough to see whether a condition can be read."""
    return _PLACEHOLDER.sub("1", text)
