"""Everything that can be wrong with a Rollout's spec, said by one function for controller, `lint` and CI.

`validate` sees one object alone; whether the Services, VirtualServices, DestinationRules and templates that it
names exist is asked with `rollout.core.references`. Rules: study/argo-rollouts.md 1.1-1.7 and 2.2. First the shape
is checked (unknown, unsupported and mistyped fields), then, part by part, what the fields mean together; a part
whose shape is wrong says only that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeGuard

from rollout.api.fields import fields_of
from rollout.api.meta import ObjectMeta, pause_seconds
from rollout.api.rollout import DEFAULT_PROGRESS_DEADLINE_SECONDS, GATEWAY_PLUGIN, RolloutSpec, Step
from rollout.core.problem import Problem, invalid, required
from rollout.core.structure import check
from rollout.core.validate_pods import (
    LABEL,
    LABEL_RULE,
    SUBDOMAIN,
    selector_problems,
    template_problems,
    workload_ref_problems,
)

Object = Mapping[str, Any]

_STRATEGIES = ("canary", "blueGreen")
STEP_KINDS = ("setWeight", "pause", "setCanaryScale", "analysis")
_ROUTERS = ("istio", "gatewayAPI")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def validate(rollout: Any) -> list[Problem]:
    """What is wrong with a Rollout, in the order of its fields; [] when it can be acted on.

    Never raises, whatever JSON it is given. When it returns [], `view(rollout["spec"], RolloutSpec)` succeeds.
    """
    if not isinstance(rollout, Mapping):
        return [invalid("", rollout, "a Rollout must be an object")]
    problems = list(check(rollout.get("metadata") or {}, fields_of(ObjectMeta), "metadata"))
    spec = rollout.get("spec")
    if spec is None:
        return [*problems, required("spec", "a Rollout needs a spec")]
    problems += check(spec, fields_of(RolloutSpec), "spec")
    if isinstance(spec, Mapping):
        problems += _spec(spec)
    return problems


def _spec(spec: Object) -> Iterator[Problem]:
    yield from selector_problems(spec)
    yield from template_problems(spec, "spec.template")
    yield from workload_ref_problems(spec.get("workloadRef"), "spec.workloadRef")
    yield from _times(spec)
    strategy = spec.get("strategy")
    if "strategy" not in spec:
        yield required("spec.strategy", "exactly one strategy must be set", "write canary or blueGreen")
    elif isinstance(strategy, Mapping):
        chosen = [name for name in _STRATEGIES if strategy.get(name) is not None]
        if len(chosen) != 1:
            found = " and ".join(chosen) or "none"
            yield invalid(
                "spec.strategy", _keys(strategy), f"exactly one strategy must be set, found {found}",
                "write canary: {} or blueGreen: {...}" if not chosen else "remove one of them",
            )  # fmt: skip
        if isinstance(strategy.get("canary"), Mapping):
            yield from _canary(strategy["canary"], "spec.strategy.canary")
        if isinstance(strategy.get("blueGreen"), Mapping):
            yield from _blue_green(strategy["blueGreen"], "spec.strategy.blueGreen")


# --- times ---------------------------------------------------------------------------------------------


def _times(spec: Object) -> Iterator[Problem]:
    ready, deadline = spec.get("minReadySeconds"), spec.get("progressDeadlineSeconds")
    ready = 0 if ready is None else ready
    default = deadline is None
    deadline = DEFAULT_PROGRESS_DEADLINE_SECONDS if default else deadline
    if _count(ready) and _count(deadline) and ready >= deadline:
        shown = f"{deadline}, the default" if default else str(deadline)
        yield invalid(
            "spec.progressDeadlineSeconds" if ready == 0 else "spec.minReadySeconds",
            deadline if ready == 0 else ready,
            f"minReadySeconds ({ready}) must be less than progressDeadlineSeconds ({shown})",
            "raise the deadline, or lower minReadySeconds",
        )
    moment = spec.get("restartAt")
    if isinstance(moment, str) and not _is_time(moment):
        yield invalid(
            "spec.restartAt",
            moment,
            "must be a time as in RFC 3339",
            'write for example "2026-01-31T12:00:00Z"',
        )


# --- canary -------------------------------------------------------------------------------------------


def _canary(canary: Object, path: str) -> Iterator[Problem]:
    steps, routing = canary.get("steps"), canary.get("trafficRouting")
    yield from _services(canary, path, "canaryService", "stableService")
    yield from _surge(canary, path)
    if routing is None and canary.get("scaleDownDelaySeconds") is not None:
        yield invalid(
            f"{path}.scaleDownDelaySeconds", canary["scaleDownDelaySeconds"],
            "works only with trafficRouting: without it, old pods are replaced one by one",
            "remove it, or add trafficRouting",
        )  # fmt: skip
    steps = steps if isinstance(steps, list) else []
    for index, step in enumerate(steps):
        if isinstance(step, Mapping):
            yield from _step(step, f"{path}.steps[{index}]", routed=routing is not None)
    background = canary.get("analysis")
    if isinstance(background, Mapping):
        yield from _analysis(background, f"{path}.analysis")
        start = background.get("startingStep")
        if _count(start) and start > max(0, len(steps) - 1):
            yield invalid(
                f"{path}.analysis.startingStep", start,
                f"the analysis would never start: there are {len(steps)} steps, counted from 0",
                f"write a number below {len(steps)}" if steps else "remove it, or add steps",
            )  # fmt: skip
    if isinstance(routing, Mapping):
        yield from _routing(routing, canary, f"{path}.trafficRouting")


def _services(strategy: Object, path: str, one: str, other: str) -> Iterator[Problem]:
    for field in (one, other):
        yield from _name(strategy.get(field) or None, f"{path}.{field}", LABEL, LABEL_RULE)
    if strategy.get(one) and strategy.get(one) == strategy.get(other):
        yield invalid(
            f"{path}.{other}", strategy[other], f"must differ from {one}",
            "each role needs a Service of its own",
        )  # fmt: skip


def _surge(canary: Object, path: str) -> Iterator[Problem]:
    surge, unavailable = canary.get("maxSurge"), canary.get("maxUnavailable")
    if _zero(surge) and _zero(unavailable):
        yield invalid(
            f"{path}.maxUnavailable", unavailable,
            "maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced",
            "raise one of them",
        )  # fmt: skip
    yield from _at_most_all(unavailable, f"{path}.maxUnavailable")


def _at_most_all(unavailable: Any, path: str) -> Iterator[Problem]:
    percent = isinstance(unavailable, str) and re.fullmatch(r"[0-9]{1,9}%", unavailable)
    if percent and int(unavailable[:-1]) > 100:
        yield invalid(path, unavailable, "must be at most 100%")


def _step(step: Object, path: str, *, routed: bool) -> Iterator[Problem]:
    kinds = [name for name, value in step.items() if value is not None]
    known = [name for name in kinds if name in _FIELDS_OF_STEP]
    if len(known) != 1 and len(known) == len(kinds):
        found = ", ".join(known) or "none"
        fix = "split it into several steps" if known else f"write one of {', '.join(STEP_KINDS)}"
        if not known and "pause" in step:
            fix = 'a pause without end is written "pause: {}"'
        yield invalid(path, _keys(step), f"a step must have exactly one kind, found {found}", fix)
    pause, scale, analysis = step.get("pause"), step.get("setCanaryScale"), step.get("analysis")
    if isinstance(pause, Mapping):
        yield from _duration(pause.get("duration"), f"{path}.pause.duration")
    if isinstance(scale, Mapping):
        yield from _scale(scale, f"{path}.setCanaryScale", routed=routed)
    if isinstance(analysis, Mapping):
        yield from _analysis(analysis, f"{path}.analysis")


def _duration(value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, str):
        return  # absent, an integer whose bounds the shape has, or a wrong type that the shape says
    example = 'write for example "30s", "5m" or "1h30m"'
    try:
        seconds = pause_seconds(value)
    except ValueError:
        yield invalid(path, value, "is not a duration", example)
        return
    if seconds < 0:
        yield invalid(path, value, "a pause cannot be negative", example)


def _scale(scale: Object, path: str, *, routed: bool) -> Iterator[Problem]:
    chosen = [name for name in ("weight", "replicas") if scale.get(name) is not None]
    chosen += ["matchTrafficWeight"] if scale.get("matchTrafficWeight") is True else []
    if len(chosen) != 1:
        yield invalid(
            path, dict(scale), "exactly one of weight, replicas and matchTrafficWeight: true must be set"
        )
    if not routed:
        yield invalid(
            path, dict(scale), "works only with trafficRouting: without it, the number of pods is the weight",
            "remove the step, or add trafficRouting",
        )  # fmt: skip


def _routing(routing: Object, canary: Object, path: str) -> Iterator[Problem]:
    plugins = routing.get("plugins")
    plugins = plugins if isinstance(plugins, Mapping) else {}
    gateways = [
        (f"{path}.gatewayAPI", routing.get("gatewayAPI")),
        (f"{path}.plugins.{GATEWAY_PLUGIN}", plugins.get(GATEWAY_PLUGIN)),
    ]
    named = [name for name, value in routing.items() if value is not None and name != "plugins"]
    routers = named + [f"plugins.{name}" for name, value in plugins.items() if value is not None]
    if not routers:
        yield required(path, "no router is named", f"write {' or '.join(_ROUTERS)}, or remove trafficRouting")
    istio = routing.get("istio")
    if isinstance(istio, Mapping):
        yield from _istio(istio, canary, f"{path}.istio")
    for at, gateway in gateways:
        if isinstance(gateway, Mapping):
            yield from _gateway(gateway, canary, at)
    known = [name for name in (*_ROUTERS, f"plugins.{GATEWAY_PLUGIN}") if name in routers]
    if len(known) > 1:
        yield invalid(path, known, "the weights have one writer", "keep one router")


def _gateway(gateway: Object, canary: Object, path: str) -> Iterator[Problem]:
    one, many = gateway.get("httpRoute"), gateway.get("httpRoutes")
    if one is None and not many:
        yield required(f"{path}.httpRoute", "the Gateway API moves weights in an HTTPRoute", "name one")
    if one is not None and many:
        yield invalid(
            f"{path}.httpRoutes", _keys(many), "httpRoute and httpRoutes exclude each other",
            "move httpRoute into the list",
        )  # fmt: skip
    yield from _name(one, f"{path}.httpRoute", SUBDOMAIN, SUBDOMAIN_RULE)
    yield from _name(gateway.get("namespace") or None, f"{path}.namespace", LABEL, LABEL_RULE)
    seen = set()
    for index, each in enumerate(many if isinstance(many, list) else []):
        at = f"{path}.httpRoutes[{index}]"
        if not isinstance(each, Mapping):
            continue
        yield from _name(each.get("name"), f"{at}.name", SUBDOMAIN, SUBDOMAIN_RULE)
        yield from _name(each.get("namespace") or None, f"{at}.namespace", LABEL, LABEL_RULE)
        yield from _named_once(each.get("rules"), f"{at}.rules", "rule")
        key = (str(each.get("namespace") or gateway.get("namespace") or ""), str(each.get("name")))
        if key in seen:
            yield Problem(f"{at}.name", f'Duplicate value: "{key[1]}": each HTTPRoute is named once')
        seen.add(key)
    for field in ("canaryService", "stableService"):
        if not canary.get(field):
            yield required(
                f"spec.strategy.canary.{field}",
                "an HTTPRoute splits requests between canaryService and stableService",
                "name both",
            )


def _istio(istio: Object, canary: Object, path: str) -> Iterator[Problem]:
    one, many, rule = istio.get("virtualService"), istio.get("virtualServices"), istio.get("destinationRule")
    if one is None and not many:
        yield required(f"{path}.virtualService", "Istio moves weights in a VirtualService", "name one")
    if one is not None and many:
        yield invalid(
            f"{path}.virtualServices", _keys(many), "virtualService and virtualServices exclude each other",
            "move virtualService into the list",
        )  # fmt: skip
    if one is not None:
        yield from _virtual_service(one, f"{path}.virtualService")
    names: Counter[str] = Counter()
    for index, each in enumerate(many if isinstance(many, list) else []):
        at = f"{path}.virtualServices[{index}]"
        yield from _virtual_service(each, at)
        name = str(each.get("name")) if isinstance(each, Mapping) else ""
        names[name] += 1
        if name and names[name] == 2:
            yield Problem(f"{at}.name", f'Duplicate value: "{name}": each VirtualService is named once')
    if rule is None:
        for field in ("canaryService", "stableService"):
            if not canary.get(field):
                yield required(
                    f"spec.strategy.canary.{field}",
                    "Istio needs canaryService and stableService (host-level), or a destinationRule (subset-level)",
                )
    elif isinstance(rule, Mapping):
        yield from _destination_rule(rule, f"{path}.destinationRule")


def _virtual_service(reference: Any, path: str) -> Iterator[Problem]:
    if not isinstance(reference, Mapping):
        return
    yield from _reference(reference.get("name"), f"{path}.name")
    yield from _named_once(reference.get("routes"), f"{path}.routes", "route")


def _named_once(names: Any, path: str, kind: str) -> Iterator[Problem]:
    """A list of names of http routes or rules: none is empty, none is there twice."""
    for index, name in enumerate(names if isinstance(names, list) else []):
        if name == "":
            yield required(f"{path}[{index}]", f"the name of an http {kind}")
        elif name in names[:index]:
            yield Problem(f"{path}[{index}]", f"Duplicate value: {name!r}: each {kind} is named once")


def _destination_rule(rule: Object, path: str) -> Iterator[Problem]:
    yield from _reference(rule.get("name"), f"{path}.name")
    for field in ("canarySubsetName", "stableSubsetName"):
        if rule.get(field) == "":
            yield required(f"{path}.{field}", "the name of a subset of the DestinationRule")
    canary, stable = rule.get("canarySubsetName"), rule.get("stableSubsetName")
    if canary and canary == stable:
        yield invalid(f"{path}.stableSubsetName", stable, "must differ from canarySubsetName")


def _reference(name: Any, path: str) -> Iterator[Problem]:
    """A name, or namespace/name."""
    if not isinstance(name, str):
        return
    namespace, slash, bare = name.partition("/")
    if slash and not LABEL.fullmatch(namespace):
        yield invalid(path, name, "the part before / must be a namespace", 'write "name" or "namespace/name"')
        return
    yield from _name(bare if slash else name, path, SUBDOMAIN, SUBDOMAIN_RULE)


# --- blue/green ---------------------------------------------------------------------------------------


def _blue_green(strategy: Object, path: str) -> Iterator[Problem]:
    if not strategy.get("activeService"):
        yield required(f"{path}.activeService", "the Service that users reach", "name it")
    yield from _services(strategy, path, "activeService", "previewService")
    yield from _at_most_all(strategy.get("maxUnavailable"), f"{path}.maxUnavailable")
    for field in ("prePromotionAnalysis", "postPromotionAnalysis"):
        if isinstance(strategy.get(field), Mapping):
            yield from _analysis(strategy[field], f"{path}.{field}")


# --- analysis -----------------------------------------------------------------------------------------


def _analysis(analysis: Object, path: str) -> Iterator[Problem]:
    templates = analysis.get("templates")
    if not templates and (templates is None or isinstance(templates, list)):
        yield required(f"{path}.templates", "an analysis needs at least one template", "add templateName")
    seen: set[tuple[str, bool]] = set()
    for index, reference in enumerate(templates if isinstance(templates, list) else []):
        if not isinstance(reference, Mapping) or not isinstance(reference.get("templateName"), str):
            continue
        name, at = reference["templateName"], f"{path}.templates[{index}].templateName"
        yield from _name(name, at, SUBDOMAIN, SUBDOMAIN_RULE)
        key = (name, reference.get("clusterScope") is True)
        if key in seen:
            yield Problem(at, f'Duplicate value: "{name}": each template is named once')
        seen.add(key)
    args = analysis.get("args")
    names: set[str] = set()
    for index, argument in enumerate(args if isinstance(args, list) else []):
        if isinstance(argument, Mapping):
            yield from _argument(argument, f"{path}.args[{index}]", names)
    for field in ("dryRun", "measurementRetention"):
        entries = analysis.get(field)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, Mapping):
                yield from _pattern(entry.get("metricName"), f"{path}.{field}[{index}].metricName")


def _argument(argument: Object, path: str, names: set[str]) -> Iterator[Problem]:
    name = argument.get("name")
    if name == "":
        yield required(f"{path}.name", "the argument's name")
    elif isinstance(name, str):
        if name in names:
            yield Problem(f"{path}.name", f'Duplicate value: "{name}": each argument is given once')
        names.add(name)
    value, source = argument.get("value"), argument.get("valueFrom")
    if (value is None) == (source is None):
        yield invalid(path, _keys(argument), "exactly one of value and valueFrom must be set")
    if not isinstance(source, Mapping):
        return
    if source.get("secretKeyRef") is not None:
        yield invalid(
            f"{path}.valueFrom.secretKeyRef", _keys(source["secretKeyRef"]), "a Rollout cannot hand on a secret",
            "name the secret in the AnalysisTemplate's args",
        )  # fmt: skip
        return
    chosen = [field for field in ("fieldRef", "podTemplateHashValue") if source.get(field) is not None]
    if len(chosen) != 1:
        yield invalid(
            f"{path}.valueFrom", _keys(source), "exactly one of fieldRef and podTemplateHashValue must be set"
        )
    reference = source.get("fieldRef")
    if isinstance(reference, Mapping) and not reference.get("fieldPath"):
        yield required(
            f"{path}.valueFrom.fieldRef.fieldPath", "a field of this Rollout", 'for example "metadata.name"'
        )


def _pattern(text: Any, path: str) -> Iterator[Problem]:
    if text == "":
        yield required(path, "a regular expression over metric names", 'write ".*" for all')
    elif isinstance(text, str):
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            yield invalid(path, text, f"is not a regular expression ({error})")


# --- small rules --------------------------------------------------------------------------------------

SUBDOMAIN_RULE = (
    "must be at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a "
    "letter or a digit"
)
_FIELDS_OF_STEP = fields_of(Step).fields


def _name(value: Any, path: str, form: re.Pattern[str], rule: str) -> Iterator[Problem]:
    if value == "":
        yield required(path, "a name")
    elif isinstance(value, str) and (len(value) > 253 or not form.fullmatch(value)):
        yield invalid(path, value, rule)


def _zero(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value == 0) or (
        isinstance(value, str) and bool(re.fullmatch(r"0{1,9}%", value))
    )


def _count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(text: str) -> bool:
    if not _RFC3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def _keys(value: Any) -> Any:
    """What to show of an object in a message: its fields' names."""
    return sorted(map(str, value)) if isinstance(value, Mapping) else value
