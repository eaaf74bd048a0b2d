"""A chaos run's probes and stop conditions as the specs of AnalysisRuns.

Probes of one role share a run. Each is sampled as its mode says, whatever limits a template had: whether the samples
are good enough is not for the AnalysisRun to say but for the ChaosRun, by ratio and streak. So a sampling run never
ends by itself. Metrics are named after their probe ("up"; "up/latency" for the metrics of a template).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from rollout.api.analysis import Argument, Metric, TemplateRef
from rollout.api.chaos import ChaosRunSpec, Probe
from rollout.api.codec import plain
from rollout.api.fields import INT32
from rollout.api.rollout import RolloutAnalysis
from rollout.core import arguments
from rollout.core.problem import below, invalid, problems_of, raise_if_any
from rollout.core.runs import Templates, run_spec
from rollout.core.validate_analysis import validate_run_spec
from rollout.errors import InvalidSpec

Role = Literal["start", "during", "continuous", "end", "stop"]
ROLES: Mapping[str, tuple[Role, ...]] = {
    "Start": ("start",),
    "End": ("end",),
    "Edge": ("start", "end"),
    "Continuous": ("continuous",),
    "During": ("during",),
}
"""In which runs a probe of each mode is measured."""
SAMPLING: frozenset[Role] = frozenset({"during", "continuous", "stop"})
RETENTION = 60
"""Samples kept in the AnalysisRun: what the ChaosRun may be late by without losing count of a streak."""
_OURS = (
    "interval",
    "initialDelay",
    "count",
    "failureLimit",
    "inconclusiveLimit",
    "consecutiveErrorLimit",
    "consecutiveSuccessLimit",
    "startGroup",
)


class Source(msgspec.Struct, frozen=True):
    """Where a metric of a run comes from: its name there, the path in the ChaosRun, and its probe, if it is one."""

    name: str
    path: str
    probe: Probe | None = None


def probes_of(spec: ChaosRunSpec, role: Role) -> list[tuple[int, Probe]]:
    """The probes that are measured in this role, with their places."""
    return [(index, probe) for index, probe in enumerate(spec.probes) if role in ROLES[probe.mode]]


def spec_for(
    spec: ChaosRunSpec, role: Role, templates: Templates, raw: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Source, ...]] | None:
    """The spec of the role's AnalysisRun (plain data) and where its metrics come from; None if there are none.

    Raises InvalidSpec, with paths in the ChaosRun, when a template is missing or a metric cannot be measured.
    """
    metrics: list[dict[str, Any]] = []
    args: list[dict[str, Any]] = []
    sources: list[Source] = []
    if role == "stop":
        parts = [_stop_metric(spec, index, metric, raw) for index, metric in enumerate(spec.stop_conditions)]
    else:
        parts = [
            _probe_metrics(spec, index, probe, role, templates=templates, raw=raw)
            for index, probe in probes_of(spec, role)
        ]
    for some, secret, where in parts:
        metrics += some
        args += secret
        sources += where
    if not metrics:
        return None
    made = {
        "metrics": metrics,
        "measurementRetention": [{"metricName": ".", "limit": RETENTION}],
    } | ({"args": args} if args else {})
    raise_if_any(_told(made, sources))
    return made, tuple(sources)


_Part = tuple[list[dict[str, Any]], list[dict[str, Any]], list[Source]]


def _probe_metrics(
    spec: ChaosRunSpec,
    index: int,
    probe: Probe,
    role: Role,
    *,
    templates: Templates,
    raw: Mapping[str, Any],
) -> _Part:
    path = f"spec.probes[{index}]"
    given = _together(spec.args, probe.args)
    try:
        if probe.template_ref is not None:
            ref = TemplateRef(
                template_name=probe.template_ref.name, cluster_scope=probe.template_ref.cluster_scope
            )
            analysis = RolloutAnalysis(templates=(ref,), args=given)
            whole = run_spec(analysis, templates, rollout_object=raw)
            metrics, args = whole["metrics"], whole.get("args") or []
            names = [probe.name if len(metrics) == 1 else f"{probe.name}/{one['name']}" for one in metrics]
        else:
            metric = {
                "provider": probe.provider,
                "successCondition": probe.success_condition,
                "failureCondition": probe.failure_condition,
            } | ({"comparator": plain(probe.comparator)} if probe.comparator is not None else {})
            metrics, names = [metric], [probe.name]
            args = [plain(one) for one in arguments.resolve_args(given, (), source=raw)]
    except InvalidSpec as error:
        raise InvalidSpec(*(str(one) for one in below(path, problems_of(error)))) from error
    timing = _sampled(probe) if role in SAMPLING else _once(probe)
    sources = [Source(name, path, probe) for name in names]
    return _renamed(metrics, names, args, timing, sources)


def _stop_metric(spec: ChaosRunSpec, index: int, metric: Metric, raw: Mapping[str, Any]) -> _Part:
    """Measured every second; one bad measurement ends it unless the limits of its own say otherwise."""
    path = f"spec.stopConditions[{index}]"
    one = plain(metric)
    own = {
        name: one[name]
        for name in ("failureLimit", "inconclusiveLimit", "consecutiveErrorLimit")
        if name in one
    }
    timing = {"interval": "1s", "consecutiveErrorLimit": 0} | own
    args = [plain(arg) for arg in arguments.resolve_args(spec.args, (), source=raw)]
    return _renamed([one], [metric.name], args, timing, [Source(metric.name, path)])


def _renamed(
    metrics: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    args: Sequence[Mapping[str, Any]],
    timing: Mapping[str, Any],
    sources: list[Source],
) -> _Part:
    """The metrics with our names and timing, arguments put in, and those of Secrets under names of their own."""
    prefix = f"{sources[0].path.rpartition('.')[2].strip(']').replace('[', '')}-"
    values = {one["name"]: one["value"] for one in args if one.get("value") is not None}
    secret = [one for one in args if one.get("value") is None]
    stand_ins = {one["name"]: f"{{{{args.{prefix}{one['name']}}}}}" for one in secret}
    made = []
    for name, metric, source in zip(names, metrics, sources, strict=True):
        body = {key: value for key, value in metric.items() if key not in _OURS and value != ""}
        filled = arguments.substitute(body, values | stand_ins, path=source.path)
        made.append({**filled, **timing, "name": name})
    return made, [{**one, "name": f"{prefix}{one['name']}"} for one in secret], sources


def _once(probe: Probe) -> dict[str, Any]:
    """Until one sample is good, at most `attempts` times."""
    return _delayed(probe) | {
        "interval": probe.interval,
        "count": probe.attempts,
        "consecutiveSuccessLimit": 1,
        "failureLimit": -1,
        "inconclusiveLimit": probe.attempts,
        "consecutiveErrorLimit": probe.attempts - 1,
    }


def _sampled(probe: Probe) -> dict[str, Any]:
    """For as long as the run lets it."""
    return _delayed(probe) | {
        "interval": probe.interval,
        "failureLimit": -1,
        "inconclusiveLimit": INT32,
        "consecutiveErrorLimit": INT32,
    }


def _delayed(probe: Probe) -> dict[str, Any]:
    return {"initialDelay": probe.initial_delay} if probe.initial_delay else {}


def _together(*groups: Iterable[Argument]) -> tuple[Argument, ...]:
    """Arguments by name; those of later groups beat those of earlier ones."""
    return tuple({one.name: one for group in groups for one in group}.values())


def _told(made: Mapping[str, Any], sources: Sequence[Source]) -> Iterable[Any]:
    """The problems of the run, told where its author wrote them."""
    seen: set[str] = set()
    for source in sources:
        if source.name in seen:
            yield invalid(
                f"{source.path}.name", source.name, "two probes have this name", "rename one of the two"
            )
        seen.add(source.name)
    for problem in validate_run_spec(made):
        head, _, tail = problem.path.partition("]")
        place = head.removeprefix("spec.metrics[")
        if place.isdigit():
            yield msgspec.structs.replace(problem, path=f"{sources[int(place)].path}{tail}")
        else:
            yield problem
