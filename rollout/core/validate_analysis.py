"""What must be true of an AnalysisTemplate and of an AnalysisRun: used by controller, lint and CI alike.

Rules: study/argo-rollouts.md 1.7. A field or a provider that we do not act on is refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rollout.api.analysis import AnalysisRunSpec, AnalysisTemplateSpec
from rollout.api.codec import view
from rollout.api.meta import duration
from rollout.core import arguments, expr
from rollout.core.problem import Problem, invalid, problems_of, raise_if_any, required, unsupported
from rollout.errors import InvalidSpec

CONDITION_NAMES = ("result", "warnings")
"""The variables of a condition: the value, and the source's own doubts about it (a list of strings)."""
MAX_METRICS = 64
MAX_QUERY = 16_384
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
    }
)
_LIMITS = ("failureLimit", "inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit")
_OTHER_PROVIDERS = frozenset(
    {
        "web",
        "job",
        "kayenta",
        "datadog",
        "wavefront",
        "newRelic",
        "cloudWatch",
        "graphite",
        "influxdb",
        "skywalking",
        "plugin",
        "loadTest",
        "chaos",
        "canaryComparison",
        "sloBurnRate",
    }
)
_PROMETHEUS_FIELDS = frozenset(
    {"address", "query", "timeout", "insecure", "headers", "authentication", "rangeQuery", "caCert"}
)
_RANGE_FIELDS = frozenset({"start", "end", "step"})


def validate_template(obj: Mapping[str, Any]) -> list[Problem]:
    """The problems of an AnalysisTemplate or ClusterAnalysisTemplate (plain data); [] when it is right."""
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return [required("spec", "a template needs a spec with metrics")]
    found = [*_unknown_fields(spec, _TEMPLATE_FIELDS, "spec"), *_misread(spec, AnalysisTemplateSpec)]
    if found:
        return found
    if not spec.get("metrics") and not spec.get("templates"):
        found.append(required("spec.metrics", "a template needs metrics, or templates that have some"))
    found += _arguments(spec)
    args, secrets = _argument_names(spec)
    declared = None if spec.get("templates") else args
    for index, metric in enumerate(spec.get("metrics") or ()):
        found += _metric(metric, f"spec.metrics[{index}]", declared, secrets)
    return [*found, *_names(spec), *_patterns(spec)]


def validate_run_spec(spec: Mapping[str, Any]) -> list[Problem]:
    """The problems of the spec of an AnalysisRun (plain data), whose arguments must all have values."""
    found = [*_unknown_fields(spec, _RUN_FIELDS, "spec"), *_misread(spec, AnalysisRunSpec)]
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
    return [*found, *_names(spec), *_patterns(spec)]


def require_valid_run(spec: Mapping[str, Any]) -> None:
    """Raise InvalidSpec with all problems of the spec of an AnalysisRun."""
    raise_if_any(validate_run_spec(spec))


def whole(value: Any) -> int | None:
    """A count or limit: an int, or a text of digits (they may be templated). None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value.strip(), re.ASCII):
        return int(value)
    return None


def _misread(spec: Mapping[str, Any], kind: type[Any]) -> Iterator[Problem]:
    try:
        view(spec, kind, path="spec")
    except InvalidSpec as error:
        yield from problems_of(error)


def _unknown_fields(value: Mapping[str, Any], known: frozenset[str], path: str) -> Iterator[Problem]:
    for name in sorted(set(value) - known):
        yield invalid(
            f"{path}.{name}", value[name], "there is no such field", f"known: {', '.join(sorted(known))}"
        )


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
    yield from _unknown_fields(metric, _METRIC_FIELDS, path)
    yield from _placeholders(metric, path, args, secrets)
    for field in ("interval", "initialDelay"):
        yield from _duration(metric.get(field), f"{path}.{field}", positive=field == "interval")
    yield from _counts(metric, path)
    for field in ("successCondition", "failureCondition"):
        yield from _condition(metric.get(field) or "", f"{path}.{field}", CONDITION_NAMES)
    yield from _provider(metric.get("provider") or {}, f"{path}.provider")


def _placeholders(
    metric: Mapping[str, Any], path: str, args: Mapping[str, str] | None, secrets: frozenset[str]
) -> Iterator[Problem]:
    """Undeclared arguments, and secret ones where they could be read back."""
    known = args if args is not None else dict.fromkeys(arguments.placeholders(metric) - secrets, "")
    try:
        arguments.substitute(metric, known, secrets, path)
    except InvalidSpec as error:
        yield from problems_of(error)


def _duration(value: Any, path: str, *, positive: bool) -> Iterator[Problem]:
    if value is None or value == "" or _templated(value):
        return
    try:
        seconds = duration(value)
    except ValueError as error:
        yield invalid(path, value, str(error))
        return
    if seconds < 0 or (positive and seconds == 0):
        yield invalid(path, value, "must be longer than nothing", 'write for example "30s" or "5m"')


def _counts(metric: Mapping[str, Any], path: str) -> Iterator[Problem]:
    numbers: dict[str, int] = {}
    for field in ("count", *_LIMITS):
        value = metric.get(field)
        if value is None or _templated(value):
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


def _condition(source: str, path: str, names: Iterable[str]) -> Iterator[Problem]:
    if not source:
        return
    known = tuple(names)
    try:
        program = expr.compile(arguments.with_numbers(source))
    except expr.ExprError as error:
        if not _templated(source):
            yield invalid(path, source, error.reason)
        return
    for name in expr.unknown_names(program, known):
        fix = f"known: {', '.join(known)}" if known else "here are only functions, for example now()"
        yield invalid(path, source, f"there is no variable `{name}`", fix)


def _provider(provider: Mapping[str, Any], path: str) -> Iterator[Problem]:
    names = sorted(provider)
    if len(names) != 1:
        rule = "a metric needs exactly one provider"
        yield invalid(path, names, rule, "write for example prometheus: {address: ..., query: ...}")
        return
    name = names[0]
    if name == "prometheus":
        body = provider[name]
        if isinstance(body, Mapping):
            yield from _prometheus(body, f"{path}.{name}")
        else:
            yield invalid(f"{path}.{name}", body, "must be an object with address and query")
    elif name in _OTHER_PROVIDERS:
        yield unsupported(f"{path}.{name}", f"the provider {name}", "use prometheus")
    else:
        yield invalid(f"{path}.{name}", name, "there is no such provider", "use prometheus")


def _prometheus(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from _unknown_fields(body, _PROMETHEUS_FIELDS, path)
    query, address, headers = body.get("query"), body.get("address") or "", body.get("headers") or []
    if not isinstance(query, str) or not query.strip():
        yield required(f"{path}.query", "a PromQL query")
    elif len(query) > MAX_QUERY:
        yield invalid(f"{path}.query", query, f"is longer than {MAX_QUERY} characters")
    if not isinstance(address, str) or (
        address and not _templated(address) and not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s?#]*)?", address)
    ):
        rule = "must be a URL without user name or password"
        yield invalid(
            f"{path}.address", address, rule, 'write for example "http://prometheus.monitoring:9090"'
        )
    timeout = body.get("timeout")
    if timeout is not None and not (_templated(timeout) or 0 < (whole(timeout) or 0) <= 600):
        yield invalid(f"{path}.timeout", timeout, "must be whole seconds, 1 to 600")
    if not isinstance(body.get("insecure", False), bool):
        yield invalid(f"{path}.insecure", body["insecure"], "must be true or false")
    if not isinstance(headers, list) or not all(map(_is_header, headers)):
        yield invalid(f"{path}.headers", headers, "must be a list of {key, value} without line breaks")
    yield from _authentication(body.get("authentication") or {}, f"{path}.authentication")
    if body.get("caCert"):
        fix = "mount the CA into the controller's trust store"
        yield unsupported(f"{path}.caCert", "a CA of one metric's own", fix)
    yield from _range(body.get("rangeQuery"), f"{path}.rangeQuery")


def _authentication(value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield invalid(path, value, "must be an object, for example basicAuth: {username: ..., password: ...}")
        return
    for name in sorted(set(value) - {"basicAuth"}):
        if value[name]:
            fix = "use basicAuth, or headers with the key Authorization and a secret argument"
            yield unsupported(f"{path}.{name}", f"authentication by {name}", fix)
    basic = value.get("basicAuth")
    if basic and (
        not isinstance(basic, Mapping)
        or set(basic) != {"username", "password"}
        or not all(isinstance(text, str) for text in basic.values())
    ):
        yield invalid(f"{path}.basicAuth", sorted(basic), "must have username and password, both texts")


def _range(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield invalid(path, value, "must be an object with start, end and step")
        return
    yield from _unknown_fields(value, _RANGE_FIELDS, path)
    for field in ("start", "end", "step"):
        text = value.get(field) or ""
        if not isinstance(text, str) or not text:
            yield required(f"{path}.{field}", "a range query needs start, end and step")
        elif field == "step":
            yield from _duration(text, f"{path}.step", positive=True)
        else:
            yield from _condition(text, f"{path}.{field}", ())


def _is_header(item: Any) -> bool:
    if not isinstance(item, Mapping) or not set(item) <= {"key", "value"}:
        return False
    key, value = item.get("key"), item.get("value", "")
    return (
        isinstance(key, str)
        and isinstance(value, str)
        and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key) is not None
        and not re.search(r"[\r\n\0]", value)
    )


def _templated(value: Any) -> bool:
    return isinstance(value, str) and bool(arguments.placeholders({"": value}))
