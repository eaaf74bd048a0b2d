"""Canary -> Rollout, AnalysisTemplates, Services, VirtualService. Facts: study/delivery-others.md 1.2, 1.3, 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.api.meta import duration
from rollout.importers.flagger.metrics import Names, metric
from rollout.importers.flagger.objects import services, virtual_service
from rollout.importers.flagger.webhooks import Hooks, hooks
from rollout.importers.report import Reader

Json = dict[str, Any]
JOB_IMAGE = "ghcr.io/fluxcd/flagger-loadtester:0.34.0"
_BUSY = {"Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising", "Terminating"}
_LEAST_INTERVAL = 10.0
_HASH: Json = {"name": "canary-hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
CUT_OVER = (
    "before you apply: set `suspend: true` on the Canary (it rewrites Services otherwise), apply these objects, wait until "
    "the Rollout is Healthy, then delete the Canary with --cascade=orphan and remove the -primary Deployment; docs/import.md has the steps"
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`provider` where the Canary names none (Flagger's -mesh-provider), the image of Jobs made from commands.

    `replicas` counts where the Deployment does not tell (Flagger keeps it at 0 between releases).
    """

    provider: str = "istio"
    job_image: str = JOB_IMAGE
    replicas: int | None = None


def convert(
    reader: Reader,
    canary: Json,
    templates: Mapping[tuple[str, str], Json],
    deployments: Mapping[tuple[str, str], Json],
    options: Options,
) -> list[Json]:
    """Our objects for one Canary. Raises `report.Refused`."""
    _state(reader, canary)
    namespace = canary["metadata"].get("namespace") or "default"
    target = _target(reader)
    service = reader.text("spec", "service", "name") or target
    names = Names(
        name=canary["metadata"].get("name", ""),
        namespace=namespace,
        target=target,
        service=service,
        canary=f"{service}-canary",
        ingress=reader.text("spec", "ingressRef", "name"),
        route=reader.text("spec", "routeRef", "name"),
        address=reader.text("spec", "metricsServer"),
    )
    provider = reader.text("spec", "provider") or options.provider
    if provider not in {"istio", "kubernetes"}:
        raise reader.refuse(
            ("spec", "provider"), f"the provider {provider} is not supported yet; istio and kubernetes are"
        )
    deployment = deployments.get((namespace, target))
    labels = _labels(reader, deployment, target)
    found = hooks(reader, ("spec", "analysis", "webhooks"), names, options.job_image)
    checks = [
        one
        for index in reader.items("spec", "analysis", "metrics")
        if (one := metric(reader, ("spec", "analysis", "metrics", index), names, templates)) is not None
    ]
    out = services(reader, service, namespace, labels)
    out += _templates(reader, names, found, checks)
    strategy: Json
    if provider == "istio":
        out.append(virtual_service(reader, service, namespace))
        strategy = {"canary": _canary(reader, names, found, checks)}
    else:
        strategy = {"blueGreen": _blue_green(reader, names, found, checks)}
    replicas = _replicas(reader, deployment, options)
    out.append(_rollout(reader, names, labels, replicas, strategy))
    _rest(reader)
    reader.info((), CUT_OVER)
    return out


def _state(reader: Reader, canary: Json) -> None:
    status = canary.get("status") or {}
    phase = str(_below(status, "phase") or "")
    reader.get("status")
    if phase in _BUSY:
        raise reader.refuse(
            ("status", "phase"), f"the Canary is {phase}: wait until it is done, then import it"
        )
    if phase == "Failed" or _below(status, "lastAppliedSpec") != _below(status, "lastPromotedSpec"):
        raise reader.refuse(
            ("status", "phase"),
            "the target Deployment holds a version that was rejected: bring it back to what -primary runs, then import",
        )


def _target(reader: Reader) -> str:
    kind = reader.text("spec", "targetRef", "kind")
    reader.get("spec", "targetRef", "apiVersion")
    if kind != "Deployment":
        raise reader.refuse(
            ("spec", "targetRef", "kind"), f"{kind or 'nothing'} cannot be taken over; only a Deployment"
        )
    name = reader.text("spec", "targetRef", "name")
    if not name:
        raise reader.refuse(("spec", "targetRef", "name"), "is needed")
    return name


def _below(obj: Any, *path: str) -> Any:
    """What stands at a path of an object of others; None where there is nothing."""
    for part in path:
        obj = obj.get(part) if isinstance(obj, Mapping) else None
    return obj


def _labels(reader: Reader, deployment: Json | None, target: str) -> dict[str, str]:
    selector = _below(deployment, "spec", "selector", "matchLabels")
    if isinstance(selector, dict) and selector:
        return {str(key): str(value) for key, value in selector.items()}
    reader.approximate(
        ("spec", "targetRef"),
        f"the Deployment {target} is not in these files: its pods are taken to have the label app={target}; check the selectors",
    )
    return {"app": target}


# --- strategy -----------------------------------------------------------------------------------------


def _canary(reader: Reader, names: Names, found: Hooks, checks: list[Json]) -> Json:
    analysis = ("spec", "analysis")
    for field, why in (
        ("match", "routes by header are not supported yet"),
        (
            "iterations",
            "A/B tests by header are not supported yet; leave iterations out for a weighted canary",
        ),
        ("mirror", "mirrored traffic is not supported yet"),
        ("sessionAffinity", "sticky sessions are not supported yet"),
    ):
        if reader.get(*analysis, field):
            raise reader.refuse((*analysis, field), why)
    reader.get(*analysis, "mirrorWeight")
    reader.drop(
        *analysis,
        "stepWeightPromotion",
        why="the canary becomes the stable version; its traffic need not move back",
    )
    steps: list[Json] = [{"pause": {}}] if found.wait_first else []
    if found.before:
        steps.append({"setCanaryScale": {"weight": 100}})
        steps.append(
            {"analysis": {"templates": [{"templateName": f"{names.name}-pre-rollout"}], "args": [_HASH]}}
        )
        steps.append({"setCanaryScale": {"matchTrafficWeight": True}})
    for weight in _weights(reader):
        steps.append({"setWeight": weight})
        if checks or found.checks:
            steps.append(
                {"analysis": {"templates": [{"templateName": f"{names.name}-checks"}], "args": [_HASH]}}
            )
        else:
            steps.append({"pause": {"duration": f"{_interval(reader):g}s"}})
    if found.wait_last:
        steps.append({"pause": {}})
    body: Json = {
        "stableService": names.service,
        "canaryService": names.canary,
        "steps": steps,
        "trafficRouting": {"istio": {"virtualService": {"name": names.service, "routes": ["primary"]}}},
    }
    if found.rollback:
        body["analysis"] = {"templates": [{"templateName": f"{names.name}-rollback"}], "args": [_HASH]}
    return body


def _blue_green(reader: Reader, names: Names, found: Hooks, checks: list[Json]) -> Json:
    analysis = ("spec", "analysis")
    iterations = reader.whole(*analysis, "iterations", default=10)
    reader.approximate(
        (*analysis, "iterations"),
        f"{iterations} passed checks before promotion become one analysis that must pass: ours switches only then",
    )
    if found.before or found.rollback:
        raise reader.refuse(
            (*analysis, "webhooks"),
            "pre-rollout and rollback webhooks of a blue/green canary must be moved by hand",
        )
    body: Json = {
        "activeService": names.service,
        "previewService": names.canary,
        "autoPromotionEnabled": not found.wait_last,
    }
    if checks or found.checks:
        body["prePromotionAnalysis"] = {
            "templates": [{"templateName": f"{names.name}-checks"}],
            "args": [_HASH],
        }
    return body


def _weights(reader: Reader) -> list[int]:
    """Flagger's weights one by one: w += step while w < max; stepWeight decides when both forms are given."""
    analysis = ("spec", "analysis")
    listed = [
        reader.whole(*analysis, "stepWeights", index) for index in reader.items(*analysis, "stepWeights")
    ]
    step = reader.whole(*analysis, "stepWeight")
    highest = listed[-1] if listed else reader.whole(*analysis, "maxWeight", default=100)
    reader.get(*analysis, "maxWeight")
    if not step:
        weights = listed
    else:
        weights, weight = [], 0
        while weight < highest:
            weight = min(weight + step, 100)
            weights.append(weight)
    if not weights or any(not 0 < one <= 100 for one in weights) or weights != sorted(set(weights)):
        raise reader.refuse(analysis, "stepWeight or stepWeights must give rising weights of 1 to 100")
    return weights


# --- templates ----------------------------------------------------------------------------------------


def _templates(reader: Reader, names: Names, found: Hooks, checks: list[Json]) -> list[Json]:
    """The analysis templates: before the first weight, at each weight, and the rollback in the background."""
    interval, failures = _interval(reader), max(reader.whole("spec", "analysis", "threshold"), 1) - 1
    if found.checks or checks:
        reader.approximate(
            ("spec", "analysis", "threshold"),
            f"each metric may fail {failures} times at each weight; Flagger counts all failures of a release together",
        )
        reader.approximate(
            ("spec", "analysis", "metrics"),
            "an answer that cannot be had (Prometheus away) is an Error with a limit of its own, not a failed check",
        )
    again: Json = {"interval": f"{interval:g}s", "failureLimit": failures, "consecutiveSuccessLimit": 1}
    out = []
    if found.before:
        out.append(
            _template(f"{names.name}-pre-rollout", names, [_repeated(one, again) for one in found.before])
        )
    if found.checks or checks:
        wait = {"initialDelay": f"{interval:g}s"}
        metrics = [_repeated(one, again) for one in found.checks]
        metrics += [{**one, **wait, **again} for one in checks]
        out.append(_template(f"{names.name}-checks", names, metrics))
    if found.rollback:
        out.append(_template(f"{names.name}-rollback", names, found.rollback))
    return out


def _repeated(one: Json, again: Json) -> Json:
    """A webhook's metric: load is made once at each weight; calls and Jobs are repeated until they pass."""
    return one if "loadTest" in one["provider"] else {**one, **again}


def _template(name: str, names: Names, metrics: list[Json]) -> Json:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": names.namespace},
        "spec": {"args": [{"name": "canary-hash"}], "metrics": metrics},
    }


def _interval(reader: Reader) -> float:
    at = ("spec", "analysis", "interval")
    try:
        seconds = duration(reader.text(*at, default="60s"))
    except ValueError as error:
        raise reader.refuse(at, str(error)) from None
    return max(seconds, _LEAST_INTERVAL)


# --- the Rollout --------------------------------------------------------------------------------------


def _replicas(reader: Reader, deployment: Json | None, options: Options) -> int:
    known = options.replicas or _below(deployment, "spec", "replicas")
    if isinstance(known, int) and not isinstance(known, bool) and known > 0:
        return known
    reader.approximate(
        ("spec", "targetRef"),
        "how many pods there shall be is not known: replicas is 1; say --replicas, the number that -primary has now",
    )
    return 1


def _rollout(reader: Reader, names: Names, labels: dict[str, str], replicas: int, strategy: Json) -> Json:
    spec: Json = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "workloadRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": names.target,
            "scaleDown": "onsuccess",
        },
        "progressDeadlineSeconds": reader.whole("spec", "progressDeadlineSeconds", default=600),
        "progressDeadlineAbort": True,
        "strategy": strategy,
    }
    reader.info(("spec", "progressDeadlineSeconds"), "counts from the last progress of the Rollout")
    if reader.get("spec", "suspend"):
        spec["paused"] = True
    if reader.get("spec", "skipAnalysis"):
        _without_analysis(strategy)
        reader.info(("spec", "skipAnalysis"), "promoted when it is ready")
    meta = {
        "name": names.name,
        "namespace": names.namespace,
        "annotations": {"surefoot.dev/imported-from": f"flagger.app Canary {names.name}"},
    }
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta, "spec": spec}


def _without_analysis(strategy: Json) -> None:
    if canary := strategy.get("canary"):
        canary["steps"] = []
        canary.pop("analysis", None)
    if blue_green := strategy.get("blueGreen"):
        blue_green["autoPromotionEnabled"] = True
        blue_green.pop("prePromotionAnalysis", None)


def _rest(reader: Reader) -> None:
    """Fields that have no object of ours."""
    for field in ("primaryReadyThreshold", "canaryReadyThreshold"):
        reader.drop("spec", "analysis", field, why="all pods that carry traffic must be ready here")
    reader.drop("spec", "analysis", "alerts", why="subscribe the Rollout to notifications instead")
    reader.drop("spec", "revertOnDeletion", why="deleting a Rollout leaves Services and routes as they are")
    for field in ("ingressRef", "routeRef", "upstreamRef"):
        reader.drop("spec", field, why="belongs to another provider")
    if kind := reader.text("spec", "autoscalerRef", "kind"):
        name = reader.text("spec", "autoscalerRef", "name")
        reader.approximate(
            ("spec", "autoscalerRef"),
            f"point the {kind} {name} at the Rollout yourself: scaleTargetRef {{apiVersion: argoproj.io/v1alpha1, kind: Rollout}}",
        )
        reader.get("spec", "autoscalerRef")
