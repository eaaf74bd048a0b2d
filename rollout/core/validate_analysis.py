"""What must be true of an AnalysisTemplate and of an AnalysisRun: used by controller, lint and CI alike.

Rules: study/argo-rollouts.md 1.7. A field or a provider that we do not act on is refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.analysis import AnalysisRunSpec, AnalysisTemplateSpec
from rollout.api.codec import view
from rollout.core import arguments, expr
from rollout.core.checks import (
    CONDITION_NAMES,
    check_condition,
    check_duration,
    check_fields,
    templated,
    whole,
)
from rollout.core.compare import comparator_problems
from rollout.core.problem import Problem, invalid, problems_of, raise_if_any, required
from rollout.core.validate_providers import LASTING, PLUGIN_PREFIX, check_provider
from rollout.errors import InvalidSpec

MAX_METRICS = 64
_TEMPLATE_FIELDS = frozenset({"metrics", "args", "dryRun", "measurementRetention", "templates"})
_RUN_FIELDS = frozenset({"metrics", "args", "dryRun", "measurementRetention", "ttlStrategy", "terminate"})
_METRIC_FIELDS = frozenset(
    {
        "name",
        "interval",
        "initialDelay",
        "count",
        "successCondition",
        "failureCondition",
        "failureLimit",
        "inconclusiveLimit",
        "consecutiveErrorLimit",
        "consecutiveSuccessLimit",
        "provider",
        "comparator",
        "startGroup",
    }
)
_SAME_IN_GROUP = ("interval", "initialDelay", "count")
_LIMITS = ("failureLimit", "inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit")


def validate_template(obj: Mapping[str, Any]) -> list[Problem]:
    """The problems of an AnalysisTemplate or ClusterAnalysisTemplate (plain data); [] when it is right."""
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return [required("spec", "a template needs a spec with metrics")]
    found = [*check_fields(spec, _TEMPLATE_FIELDS, "spec"), *_misread(spec, AnalysisTemplateSpec)]
    if found:
        return found
    if not spec.get("metrics") and not spec.get("templates"):
        found.append(required("spec.metrics", "a template needs metrics, or templates that have some"))
    found += _arguments(spec)
    args, secrets = _argument_names(spec)
    declared = None if spec.get("templates") else args
    for index, metric in enumerate(spec.get("metrics") or ()):
        found += _metric(metric, f"spec.metrics[{index}]", declared, secrets)
    return [*found, *_names(spec), *_groups(spec), *_patterns(spec)]


def validate_run_spec(spec: Mapping[str, Any]) -> list[Problem]:
    """The problems of the spec of an AnalysisRun (plain data), whose arguments must all have values."""
    found = [*check_fields(spec, _RUN_FIELDS, "spec"), *_misread(spec, AnalysisRunSpec)]
    if found:
        return found
    if not spec.get("metrics"):
        found.append(required("spec.metrics", "an analysis run needs at least one metric"))
    found += _arguments(spec)
    for argument in spec.get("args") or ():
        if argument.get("value") is None and not (argument.get("valueFrom") or {}).get("secretKeyRef"):
            found.append(required(f"spec.args[{argument['name']}]", "the argument has no value"))
    args, secrets = _argument_names(spec)
    for index, metric in enumerate(spec.get("metrics") or ()):
        path = f"spec.metrics[{index}]"
        try:
            resolved = arguments.substitute(metric, args, secrets, path)
        except InvalidSpec as error:
            found += problems_of(error)
        else:
            found += _metric(resolved, path, args, secrets)
    return [*found, *_names(spec), *_groups(spec), *_patterns(spec)]


def require_valid_run(spec: Mapping[str, Any]) -> None:
    """Raise InvalidSpec with all problems of the spec of an AnalysisRun."""
    raise_if_any(validate_run_spec(spec))


def _misread(spec: Mapping[str, Any], kind: type[Any]) -> Iterator[Problem]:
    try:
        view(spec, kind, path="spec")
    except InvalidSpec as error:
        yield from problems_of(error)


def _argument_names(spec: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    """The arguments with a value (a placeholder for itself where there is none yet), and the secret ones."""
    plain: dict[str, str] = {}
    secrets: set[str] = set()
    for argument in spec.get("args") or ():
        name = argument["name"]
        if (argument.get("valueFrom") or {}).get("secretKeyRef"):
            secrets.add(name)
        else:
            value = argument.get("value")
            plain[name] = f"{{{{args.{name}}}}}" if value is None else value
    return plain, frozenset(secrets)


def _arguments(spec: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, argument in enumerate(spec.get("args") or ()):
        path, name = f"spec.args[{index}].name", argument["name"]
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", name):
            yield invalid(path, name, "must be letters, digits, dots, dashes and underscores")
        if name in seen:
            yield invalid(path, name, "is declared twice", "remove one of the two")
        seen.add(name)


def _names(spec: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    metrics = spec.get("metrics") or ()
    if len(metrics) > MAX_METRICS:
        yield invalid("spec.metrics", len(metrics), f"more than {MAX_METRICS} metrics in one run")
    for index, metric in enumerate(metrics):
        path, name = f"spec.metrics[{index}].name", metric.get("name", "")
        if not name:
            yield required(path, "every metric needs a name")
        elif name in seen:
            yield invalid(path, name, "two metrics have this name", "rename one of the two")
        seen.add(name)


def _comparator(metric: Mapping[str, Any], path: str) -> Iterator[Problem]:
    comparator = metric.get("comparator")
    if comparator is None:
        return
    yield from comparator_problems(comparator, f"{path}.comparator")
    if metric.get("successCondition") or metric.get("failureCondition"):
        yield invalid(f"{path}.comparator", comparator, "there are conditions too", "keep one of the two")


def _groups(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Metrics of a start group begin together each time, so they must agree on when and how often that is."""
    first: dict[str, Mapping[str, Any]] = {}
    for index, metric in enumerate(spec.get("metrics") or ()):
        group, path = metric.get("startGroup"), f"spec.metrics[{index}]"
        if not group:
            continue
        if not set(_provider_names(metric)) & LASTING:
            rule = f"only metrics that last can start together ({', '.join(sorted(LASTING))})"
            yield invalid(f"{path}.startGroup", group, rule, "use initialDelay for this one")
        if whole(metric.get("consecutiveErrorLimit")) or metric.get("consecutiveSuccessLimit"):
            rule = "a metric of a start group is not measured again alone"
            fix = "leave consecutiveErrorLimit and consecutiveSuccessLimit out"
            yield invalid(f"{path}.startGroup", group, rule, fix)
        other = first.setdefault(group, metric)
        for field in _SAME_IN_GROUP:
            if (metric.get(field) or None) != (other.get(field) or None):
                rule = f'differs from that of "{other.get("name", "")}", which starts together with it'
                yield invalid(f"{path}.{field}", metric.get(field), rule, "make them equal")


def _provider_names(metric: Mapping[str, Any]) -> Iterator[str]:
    provider = metric.get("provider") or {}
    plugins = provider.get("plugin")
    yield from provider
    yield from (
        str(one).removeprefix(PLUGIN_PREFIX) for one in (plugins if isinstance(plugins, Mapping) else ())
    )


def _patterns(spec: Mapping[str, Any]) -> Iterator[Problem]:
    for field in ("dryRun", "measurementRetention"):
        for index, item in enumerate(spec.get(field) or ()):
            path = f"spec.{field}[{index}]"
            try:
                expr.regex.compile(item["metricName"])
            except ValueError as error:
                yield invalid(f"{path}.metricName", item["metricName"], str(error))
            if field == "measurementRetention" and item["limit"] < 1:
                yield invalid(f"{path}.limit", item["limit"], "at least one measurement must be kept")


def _metric(
    metric: Mapping[str, Any], path: str, args: Mapping[str, str] | None, secrets: frozenset[str]
) -> Iterator[Problem]:
    yield from check_fields(metric, _METRIC_FIELDS, path)
    yield from _placeholders(metric, path, args, secrets)
    for field in ("interval", "initialDelay"):
        yield from check_duration(metric.get(field), f"{path}.{field}", positive=field == "interval")
    yield from _counts(metric, path)
    for field in ("successCondition", "failureCondition"):
        yield from check_condition(metric.get(field) or "", f"{path}.{field}", CONDITION_NAMES)
    yield from _comparator(metric, path)
    yield from check_provider(metric.get("provider") or {}, f"{path}.provider")


def _placeholders(
    metric: Mapping[str, Any], path: str, args: Mapping[str, str] | None, secrets: frozenset[str]
) -> Iterator[Problem]:
    """Undeclared arguments, and secret ones where they could be read back."""
    known = args if args is not None else dict.fromkeys(arguments.placeholders(metric) - secrets, "")
    try:
        arguments.substitute(metric, known, secrets, path)
    except InvalidSpec as error:
        yield from problems_of(error)


def _counts(metric: Mapping[str, Any], path: str) -> Iterator[Problem]:
    numbers: dict[str, int] = {}
    for field in ("count", *_LIMITS):
        value = metric.get(field)
        if value is None or templated(value):
            continue
        number = whole(value)
        least = -1 if field == "failureLimit" else 0
        if number is None or number < least:
            yield invalid(f"{path}.{field}", value, f"must be a whole number of at least {least}")
        else:
            numbers[field] = number
    count = numbers.get("count", 0)
    if count > 1 and not metric.get("interval"):
        yield required(f"{path}.interval", f"count is {count}", 'say how often to measure, for example "60s"')
    for field in ("failureLimit", "inconclusiveLimit", "consecutiveSuccessLimit"):
        limit = numbers.get(field, 0)
        if count and limit > count:
            rule = f"is more than count ({count}), so it could never be reached"
            yield invalid(f"{path}.{field}", limit, rule, f"write at most {count}, or raise count")
