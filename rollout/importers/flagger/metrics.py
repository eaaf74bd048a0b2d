"""Flagger's checks -> analysis metrics: builtin ones, and MetricTemplates. Facts: study/delivery-others.md 1.5, 1.6, 2.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.importers.report import Reader, Refused

Json = dict[str, Any]
Path = tuple[str | int, ...]

_PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_HAS_DATA = "len(result) > 0 && !isNaN(result[0])"
SUCCESS_RATE = (
    'sum(rate(istio_requests_total{{reporter="destination",destination_service_namespace="{namespace}",'
    'destination_service_name="{canary}",response_code!~"5.*"}}[{interval}]))'
    ' / sum(rate(istio_requests_total{{reporter="destination",destination_service_namespace="{namespace}",'
    'destination_service_name="{canary}"}}[{interval}])) * 100'
)
DURATION = (
    "histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket"
    '{{reporter="destination",destination_service_namespace="{namespace}",destination_service_name="{canary}"}}'
    "[{interval}])) by (le))"
)


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What a canary's queries may ask about. `address` "" leaves Prometheus to the controller's default."""

    name: str
    namespace: str
    target: str
    service: str
    canary: str
    ingress: str
    route: str
    address: str


def metric(
    reader: Reader, path: Path, names: Names, templates: Mapping[tuple[str, str], Json]
) -> Json | None:
    """The metric at `path`, without timing; None when there is nothing to measure (said)."""
    name = reader.text(*path, "name")
    interval = reader.text(*path, "interval", default="1m")
    threshold = reader.get(*path, "threshold")
    low = reader.get(*path, "thresholdRange", "min")
    high = reader.get(*path, "thresholdRange", "max")
    if threshold is not None:  # deprecated: a minimum of the success rate, a maximum of everything else
        low, high = (threshold, high) if name == "request-success-rate" else (low, threshold)
    if reader.has(*path, "templateRef"):
        query, address = _template(reader, path, names, templates, interval)
    elif query := reader.text(*path, "query"):
        address = names.address
    elif name == "request-success-rate":
        query = SUCCESS_RATE.format(namespace=names.namespace, canary=names.canary, interval=interval)
        address = names.address
        _builtin(reader, path, names)
    elif name == "request-duration":
        query = DURATION.format(namespace=names.namespace, canary=names.canary, interval=interval)
        address = names.address
        _builtin(reader, path, names)
    else:
        reader.drop(
            *path,
            why=f'"{name}" is no builtin check and has neither templateRef nor query: nothing is measured',
        )
        return None
    if low is None and high is None:
        raise reader.refuse((*path, "thresholdRange"), "needs min or max: otherwise any value passes")
    bounds = [_HAS_DATA]
    bounds += [f"result[0] >= {_number(reader, path, low)}"] if low is not None else []
    bounds += [f"result[0] <= {_number(reader, path, high)}"] if high is not None else []
    body: Json = {"query": query}
    if address:
        body["address"] = address
    return {"name": name, "successCondition": " && ".join(bounds), "provider": {"prometheus": body}}


def _builtin(reader: Reader, path: Path, names: Names) -> None:
    reader.approximate(
        path,
        f"asks about the requests that the mesh sent to the Service {names.canary}; Flagger asks about the workload's name",
    )


def _template(
    reader: Reader, path: Path, names: Names, templates: Mapping[tuple[str, str], Json], interval: str
) -> tuple[str, str]:
    ref = (*path, "templateRef")
    name = reader.text(*ref, "name")
    namespace = reader.text(*ref, "namespace", default=names.namespace)
    template = templates.get((namespace, name))
    if template is None:
        raise reader.refuse(ref, f"the MetricTemplate {namespace}/{name} is not in these files; give it, too")
    spec = template.get("spec")
    provider = spec.get("provider") if isinstance(spec, Mapping) else None
    query = spec.get("query") if isinstance(spec, Mapping) else None
    if not isinstance(provider, Mapping) or not isinstance(query, str):
        raise reader.refuse(ref, f"the MetricTemplate {namespace}/{name} needs a provider and a query")
    if provider.get("type") != "prometheus":
        said = provider.get("type") or "without a type"
        raise reader.refuse(ref, f"its provider {said} is not supported yet; only prometheus is")
    for field in ("secretRef", "headers", "insecureSkipVerify", "region"):
        if provider.get(field):
            raise reader.refuse(
                ref,
                f"its provider's {field} must be moved by hand: into the metric's headers, from a secret argument",
            )
    variables = reader.mapping(*path, "templateVariables")
    known = {
        "name": names.name,
        "namespace": names.namespace,
        "target": names.target,
        "service": names.service,
        "ingress": names.ingress,
        "route": names.route,
        "interval": interval,
        **{f"variables.{key}": str(value) for key, value in variables.items()},
    }
    return _filled(reader, ref, query, known), str(provider.get("address") or names.address)


def _filled(reader: Reader, at: Path, query: str, known: Mapping[str, str]) -> str:
    """Plain references put in; anything else of Go's template language is refused."""
    used: set[str] = set()

    def value(match: re.Match[str]) -> str:
        word = match[1].removeprefix(".")
        if word not in known:
            raise _wrong(
                reader, at, f'"{match[0]}" in the query is more than a plain reference; write the query out'
            )
        used.add(word)
        return known[word]

    filled = _PLACEHOLDER.sub(value, query)
    if "target" in used:
        reader.approximate(
            at,
            f"the query asks about the workload {known['target']}: here canary and stable pods both carry that name; "
            "ask about rollouts_pod_template_hash or the canary's Service instead",
        )
    return filled


def _wrong(reader: Reader, at: Path, message: str) -> Refused:
    return reader.refuse(at, message)


def _number(reader: Reader, path: Path, value: Any) -> str:
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", str(value)):
        raise reader.refuse((*path, "thresholdRange"), f'"{value}" is no number')
    return str(value)
