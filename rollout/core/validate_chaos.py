"""What must be true of a ChaosRun: said by one function for controller, `lint` and CI.

First the shape (unknown and mistyped fields), then what the fields mean together. Whether templates, namespaces and
pods are there is asked when the run is about to begin (`chaos.plan.admission`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.chaos import FAULT_KINDS, FORBIDDEN_NAMESPACES, ChaosRunSpec, Probe
from rollout.api.codec import plain, view
from rollout.api.fields import fields_of
from rollout.api.meta import ObjectMeta, duration
from rollout.core import structure
from rollout.core.probes import ROLES, spec_for
from rollout.core.problem import Problem, invalid, problems_of, required
from rollout.errors import InvalidSpec

Object = Mapping[str, Any]

FAMILY: Mapping[str, str] = {
    "podDelete": "pods",
    "containerKill": "pods",
    "scaleDown": "pods",
    "httpLatency": "http",
    "httpAbort": "http",
    "dependencyLatency": "egress",
    "dependencyOutage": "egress",
    "networkLatency": "network",
    "networkLoss": "network",
}
"""Faults of one family get in each other's way: at most one of them is at work on one workload."""
WORKLOAD_KINDS = ("Rollout", "Deployment", "StatefulSet", "ReplicaSet")
MAX_NAME = 200
MAX_DURATION = 12 * 3600.0
MAX_ROUNDS = 200
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_NAME_RULE = "must be lower-case letters, digits and dashes, at most 40"
_PROBE_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_. ]{0,78}[A-Za-z0-9])?")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NEEDS_CONDITION = frozenset({"prometheus", "web"})
"""Providers whose answer says nothing about good or bad by itself."""


def validate_run(obj: Any) -> list[Problem]:
    """What is wrong with a ChaosRun; [] when it can be carried out.

    Never raises, whatever JSON it is given. When it returns [], `view(obj["spec"], ChaosRunSpec)` succeeds.
    """
    if not isinstance(obj, Mapping):
        return [invalid("", obj, "a ChaosRun must be an object")]
    meta = obj.get("metadata") or {}
    problems = list(structure.check(meta, fields_of(ObjectMeta), "metadata"))
    spec = obj.get("spec")
    if spec is None:
        return [*problems, required("spec", "a ChaosRun needs a spec")]
    shape = list(structure.check(spec, fields_of(ChaosRunSpec), "spec"))
    if problems or shape:
        return [*problems, *shape]
    name, namespace = str(meta.get("name") or ""), str(meta.get("namespace") or "")
    if len(name) > MAX_NAME:
        problems.append(invalid("metadata.name", name, f"is longer than {MAX_NAME} characters"))
    return [*problems, *_spec(spec, view(spec, ChaosRunSpec), namespace)]


def warnings(obj: Object) -> list[Problem]:
    """What is allowed, and probably not meant, in a valid ChaosRun."""
    spec = view(obj["spec"], ChaosRunSpec)
    found = []
    if not spec.probes and not spec.dry_run:
        rule = "without probes the verdict can never be Successful"
        found.append(Problem("spec.probes", f"{rule}; add one that says when the application is well"))
    for at, step in enumerate(spec.steps):
        for index, fault in enumerate(step.faults):
            target = fault.target or spec.target
            if fault.pod_delete and fault.pod_delete.interval and target.retarget == "Frozen":
                path = f"spec.steps[{at}].faults[{index}].podDelete.interval"
                rule = "the frozen targets are gone after the first round; later ones find nobody"
                found.append(Problem(path, f"{rule}; say target.retarget: Replaced"))
    return found


def _spec(raw: Object, spec: ChaosRunSpec, namespace: str) -> Iterator[Problem]:
    yield from _times(raw, spec)
    yield from _target(spec.target, "spec.target", namespace, needed=False)
    if not spec.steps:
        yield required("spec.steps", "a run needs at least one step with a fault")
    yield from _faults(spec, namespace)
    yield from _length(spec)
    yield from _probes(raw, spec)


# --- times --------------------------------------------------------------------------------------------


def _times(raw: Object, spec: ChaosRunSpec) -> Iterator[Problem]:
    yield from _span(spec.duration, "spec.duration", least=1.0)
    yield from _span(spec.ramp, "spec.ramp", least=0.0)
    yield from _span(spec.recovery_timeout, "spec.recoveryTimeout", least=1.0)
    yield from _span(spec.revert_timeout, "spec.revertTimeout", least=1.0, most=600.0)
    yield from _span(spec.start_deadline, "spec.startDeadline", least=1.0)
    yield from _span(spec.limits.max_duration, "spec.limits.maxDuration", least=1.0)
    moment = raw.get("startAt")
    if moment is not None and not _is_time(moment):
        fix = 'write for example "2026-01-31T12:00:00Z"'
        yield invalid("spec.startAt", moment, "must be a time as in RFC 3339", fix)


def _span(text: str, path: str, *, least: float, most: float = MAX_DURATION) -> Iterator[Problem]:
    """A duration within bounds; the empty text means that nothing was said."""
    if not text:
        return
    try:
        seconds = duration(text)
    except ValueError as error:
        yield invalid(path, text, str(error))
        return
    if not least <= seconds <= most:
        yield invalid(path, text, f"must be {least:g} s to {most:g} s")


def _is_time(text: Any) -> bool:
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _length(spec: ChaosRunSpec) -> Iterator[Problem]:
    """All steps together must fit into the limit."""
    try:
        total = sum(_step_seconds(spec, index) for index in range(len(spec.steps)))
        limit = duration(spec.limits.max_duration)
    except ValueError:
        return  # a duration that cannot be read was told already
    if total > limit:
        rule = f"the steps take {total:g} s together, limits.maxDuration is {spec.limits.max_duration}"
        yield invalid("spec.steps", len(spec.steps), rule, "make them shorter, or raise the limit")


def _step_seconds(spec: ChaosRunSpec, index: int) -> float:
    step = spec.steps[index]
    each = [
        duration(fault.start_after or "0s") + duration(fault.duration or spec.duration)
        for fault in step.faults
    ]
    return max(each, default=0.0) + duration(step.pause or "0s")


# --- targets and faults -------------------------------------------------------------------------------


def _target(target: Any, path: str, namespace: str, *, needed: bool) -> Iterator[Problem]:
    where = target.namespace or namespace
    if where in FORBIDDEN_NAMESPACES:
        rule = f"pods of {where} are never harmed"
        yield invalid(f"{path}.namespace", where, rule, "take a namespace of your own")
    if target.count is not None and target.percent is not None:
        yield invalid(path, plain(target), "count and percent exclude each other", "keep one of the two")
    named = target.workload_ref is not None or target.selector is not None or target.pod_names
    if needed and not named:
        fix = "write workloadRef, selector or podNames"
        yield required(path, "a target says which pods are meant", fix)
    selector = target.selector
    if selector is not None and not selector.match_labels and not selector.match_expressions:
        fix = "name a label, or use workloadRef"
        yield invalid(f"{path}.selector", {}, "an empty selector would mean every pod", fix)
    for index, term in enumerate((selector.match_expressions or ()) if selector is not None else ()):
        if term.operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            place = f"{path}.selector.matchExpressions[{index}].operator"
            yield invalid(place, term.operator, "must be In, NotIn, Exists or DoesNotExist")
    ref = target.workload_ref
    if ref is not None and ref.kind not in WORKLOAD_KINDS:
        yield invalid(f"{path}.workloadRef.kind", ref.kind, f"must be one of {', '.join(WORKLOAD_KINDS)}")
    if ref is not None and ref.role != "all" and ref.kind != "Rollout":
        rule = f"a {ref.kind} has no {ref.role}; roles are those of a Rollout"
        yield invalid(f"{path}.workloadRef.role", ref.role, rule, "write kind: Rollout, or leave it out")


def _faults(spec: ChaosRunSpec, namespace: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for at, step in enumerate(spec.steps):
        where = f"spec.steps[{at}]"
        yield from _span(step.pause, f"{where}.pause", least=0.0)
        if not step.faults:
            yield required(f"{where}.faults", "a step needs at least one fault")
        held: dict[tuple[str, str], str] = {}
        for index, fault in enumerate(step.faults):
            path = f"{where}.faults[{index}]"
            if not _NAME.fullmatch(fault.name):
                yield invalid(f"{path}.name", fault.name, _NAME_RULE)
            if fault.name in seen:
                yield invalid(
                    f"{path}.name", fault.name, "two faults have this name", "rename one of the two"
                )
            seen.add(fault.name)
            yield from _span(fault.duration, f"{path}.duration", least=1.0)
            yield from _span(fault.start_after, f"{path}.startAfter", least=0.0)
            target = fault.target or spec.target
            place = f"{path}.target" if fault.target is not None else "spec.target"
            yield from _target(target, place, namespace, needed=True)
            kinds = _kinds(fault)
            if len(kinds) != 1:
                said = " and ".join(kinds) or "none"
                rule = f"a fault must have exactly one kind, found {said}"
                yield invalid(path, fault.name, rule, f"write one of {', '.join(FAULT_KINDS)}")
                continue
            claim = FAMILY[kinds[0]], str(plain(msgspec.structs.replace(target, count=None, percent=None)))
            if claim in held:
                rule = f"it would get in the way of {held[claim]}, on the same target in the same step"
                yield invalid(f"{path}.{kinds[0]}", fault.name, rule, "put it into a step of its own")
            held.setdefault(claim, fault.name)
            yield from _kind(spec, fault, kinds[0], path, place)


def _kinds(fault: Any) -> list[str]:
    set_fields = plain(fault)
    return [kind for kind in FAULT_KINDS if kind in set_fields]


def _kind(spec: ChaosRunSpec, fault: Any, kind: str, path: str, place: str) -> Iterator[Problem]:
    body = plain(fault)[kind]
    where = f"{path}.{kind}"
    for field in ("delay", "jitter"):
        if field in body:
            yield from _span(body[field], f"{where}.{field}", least=0.0, most=600.0)
    if kind in {"httpLatency", "dependencyLatency", "networkLatency"} and not body.get("delay"):
        yield required(f"{where}.delay", "how long requests wait", 'write for example "300ms"')
    if kind in {"dependencyLatency", "dependencyOutage"} and not body.get("host"):
        yield required(f"{where}.host", "the host that is slow or away", "write a Service's name")
    if (route := body.get("httpRoute")) is not None:
        yield from _route(route, body, where)
    if kind == "scaleDown":
        yield from _scale_down(spec, fault, where, place)
    if interval := body.get("interval"):
        yield from _interval(interval, duration_or_none(fault.duration or spec.duration), where)


def _route(route: Mapping[str, Any], body: Mapping[str, Any], where: str) -> Iterator[Problem]:
    if not route.get("name"):
        yield required(f"{where}.httpRoute.name", "the HTTPRoute whose requests are meant", "name it")
    if body.get("port"):
        rule = "a port is one of the pods, and a route knows none"
        yield invalid(f"{where}.port", body["port"], rule, "remove it, or httpRoute")


def _scale_down(spec: ChaosRunSpec, fault: Any, where: str, place: str) -> Iterator[Problem]:
    how, target = fault.scale_down, fault.target or spec.target
    if (how.replicas is None) == (how.percent is None):
        yield invalid(where, plain(how), "exactly one of replicas and percent must be set")
    if target.workload_ref is None:
        yield required(f"{place}.workloadRef", "scaleDown needs the workload by name")


def _interval(interval: str, lasts: float | None, where: str) -> Iterator[Problem]:
    yield from _span(interval, f"{where}.interval", least=1.0)
    every = duration_or_none(interval)
    if every and lasts and every >= 1.0 and lasts / every > MAX_ROUNDS:
        rule = f"would be {int(lasts / every)} rounds, at most {MAX_ROUNDS} are kept account of"
        yield invalid(f"{where}.interval", interval, rule, "write a longer interval")


def duration_or_none(text: str) -> float | None:
    try:
        return duration(text)
    except ValueError:
        return None


# --- probes -------------------------------------------------------------------------------------------


def _probes(raw: Object, spec: ChaosRunSpec) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, probe in enumerate(spec.probes):
        path = f"spec.probes[{index}]"
        if not _PROBE_NAME.fullmatch(probe.name):
            yield invalid(f"{path}.name", probe.name, "must be letters, digits, spaces and -_., at most 80")
        if probe.name in seen:
            yield invalid(f"{path}.name", probe.name, "two probes have this name", "rename one of the two")
        seen.add(probe.name)
        yield from _probe(raw, spec, probe, path)
    names = [one.name for one in spec.stop_conditions]
    for index, name in enumerate(names):
        if not name or name in names[:index]:
            fix = "name each of them, differently"
            yield invalid(f"spec.stopConditions[{index}].name", name, "must be a name of its own", fix)
    try:
        spec_for(spec, "stop", {}, {"spec": raw})
    except InvalidSpec as error:
        yield from problems_of(error)


def _probe(raw: Object, spec: ChaosRunSpec, probe: Probe, path: str) -> Iterator[Problem]:
    timed = list(_span(probe.interval, f"{path}.interval", least=0.1))
    timed += _span(probe.initial_delay, f"{path}.initialDelay", least=0.0)
    if not probe.interval:
        timed.append(required(f"{path}.interval", "how often to sample", 'write for example "2s"'))
    yield from timed
    if not 0.0 <= probe.tolerance.ratio <= 1.0:
        yield invalid(f"{path}.tolerance.ratio", probe.tolerance.ratio, "must be 0 to 1")
    if bool(probe.provider) == (probe.template_ref is not None):
        fix = "write the provider of a metric, or name an AnalysisTemplate"
        yield required(path, "exactly one of provider and templateRef must be set", fix)
        return
    if probe.template_ref is not None:
        said = [
            name
            for name, value in (
                ("successCondition", probe.success_condition),
                ("failureCondition", probe.failure_condition),
                ("comparator", probe.comparator),
            )
            if value
        ]
        for name in said:
            yield invalid(f"{path}.{name}", "...", "the template's own conditions count", "remove it")
        return
    if timed:
        return
    judged = probe.success_condition or probe.failure_condition or probe.comparator
    if set(probe.provider) <= _NEEDS_CONDITION and not judged:
        fix = "write successCondition or comparator"
        yield required(f"{path}.successCondition", "any answer would be good", fix)
    alone = msgspec.structs.replace(spec, probes=(probe,))
    try:
        spec_for(alone, ROLES[probe.mode][0], {}, {"spec": raw})
    except InvalidSpec as error:
        for problem in problems_of(error):
            yield msgspec.structs.replace(problem, path=problem.path.replace("spec.probes[0]", path, 1))
