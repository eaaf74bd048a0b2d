"""ChaosEngine -> ChaosRuns, one for each of its experiments. Facts: study/chaos.md 2.1, 2.8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.chaos import OPT_IN, Caps
from rollout.importers.litmus import faults, probes
from rollout.importers.litmus.tunables import Profile, Tunables, tunables
from rollout.importers.report import Reader

Json = dict[str, Any]
_KINDS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "rollout": "Rollout",
}
_IDENTITY = "ours injects as the controller: see the RBAC rules in docs/chaos.md"
_USUAL_PERCENT = Caps().percent_per_namespace
CMD_IMAGE = "curlimages/curl:8.10.1"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user decides: defaults of which profile, network faults by the mesh or by netem, the image of cmd probes.

    `now` is the moment from which the next times of a schedule are told; None = they are not.
    """

    profile: Profile = "litmus-hub"
    network: faults.Network = "mesh"
    cmd_image: str = CMD_IMAGE
    now: datetime | None = None


def runs(reader: Reader, engine: Json, catalogue: Mapping[str, Json], options: Options) -> list[Json]:
    """The ChaosRuns of an engine; ChaosTemplates when it is stopped. Raises `report.Refused`."""
    state = reader.text("spec", "engineState", default="active")
    kind = "ChaosRun" if state == "active" else "ChaosTemplate"
    if kind == "ChaosTemplate":
        reader.info(
            ("spec", "engineState"),
            "a stopped engine becomes a ChaosTemplate: nothing runs when it is applied",
        )
    common = _common(reader, engine)
    many = reader.items("spec", "experiments")
    if not len(many):
        raise reader.refuse(("spec", "experiments"), "the engine has no experiment")
    if len(many) > 1:
        reader.approximate(
            ("spec", "experiments"),
            "each experiment becomes a run of its own; apply them one after the other to keep Litmus' order",
        )
    out = []
    for index in many:
        spec, experiment = _run(reader, index, common, dict(catalogue), options)
        name = engine["metadata"].get("name") or engine["metadata"].get("generateName", "chaos").rstrip("-")
        out.append(_object(kind, _bounded(name if len(many) == 1 else f"{name}-{experiment}"), engine, spec))
    return out


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What all experiments of an engine share. `targets` has one entry for each workload that is named."""

    targets: list[Json]
    health_check: bool
    namespace: str
    recovery_timeout: int


def _common(reader: Reader, engine: Json) -> Common:
    own = engine["metadata"].get("namespace") or "default"
    reader.ignore("spec", "annotationCheck", why="ours always asks for consent, by the namespace's label")
    reader.info((), f"before you apply: kubectl label namespace {own} {OPT_IN}=enabled")
    reader.drop("spec", "monitoring", why="runs always have metrics here")
    reader.ignore("spec", "chaosServiceAccount", why=_IDENTITY)
    policy = reader.text("spec", "jobCleanUpPolicy")
    if policy:
        reader.info(
            ("spec", "jobCleanUpPolicy"), "there are no Jobs to keep; runs stay until they are deleted"
        )
    if reader.whole("spec", "terminationGracePeriodSeconds", default=30) < 30:
        reader.info(
            ("spec", "terminationGracePeriodSeconds"),
            "undoing gets 60 s here, not 0: that is what leaves latency behind in Litmus",
        )
    reader.drop(
        "spec", "auxiliaryAppInfo", why="add a probe for each further application that must stay healthy"
    )
    reader.ignore("spec", "components", why="ours has no runner pod")
    return Common(
        targets=_targets(reader, own),
        health_check=reader.text("spec", "defaultHealthCheck").lower() == "true",
        namespace=own,
        recovery_timeout=180,
    )


def _targets(reader: Reader, own: str) -> list[Json]:
    if reader.has("spec", "selectors"):
        return _selected(reader, own)
    info = ("spec", "appinfo")
    label, kind = reader.text(*info, "applabel"), reader.text(*info, "appkind").lower()
    namespace = reader.text(*info, "appns")
    if not label and not kind:
        raise reader.refuse(
            info, "applabel and appkind are needed: any pod of the namespace is no target here"
        )
    if not label:
        raise reader.refuse((*info, "applabel"), "is needed beside appkind")
    if kind and kind not in _KINDS:
        raise reader.refuse((*info, "appkind"), f'"{kind}" is not known; one of {", ".join(_KINDS)}')
    labels = _labels(reader, (*info, "applabel"), label)
    reader.approximate(
        (*info, "applabel"),
        "pods are chosen by their own labels; Litmus looks for workloads with that label, then for their pods",
    )
    return [_with_namespace(reader, info, {"selector": {"matchLabels": labels}}, namespace, own)]


def _selected(reader: Reader, own: str) -> list[Json]:
    reader.ignore("spec", "appinfo", why="spec.selectors counts instead, as for Litmus")
    out: list[Json] = []
    for index in reader.items("spec", "selectors", "workloads"):
        at = ("spec", "selectors", "workloads", index)
        kind, namespace = reader.text(*at, "kind").lower(), reader.text(*at, "namespace")
        if kind not in _KINDS:
            raise reader.refuse((*at, "kind"), f'"{kind}" is not known; one of {", ".join(_KINDS)}')
        if label := reader.text(*at, "labels"):
            target: Json = {"selector": {"matchLabels": _labels(reader, (*at, "labels"), label)}}
            out.append(_with_namespace(reader, at, target, namespace, own))
        for name in [part.strip() for part in reader.text(*at, "names").split(",") if part.strip()]:
            target = {"workloadRef": {"kind": _KINDS[kind], "name": name}}
            out.append(_with_namespace(reader, at, target, namespace, own))
    for index in reader.items("spec", "selectors", "pods"):
        at = ("spec", "selectors", "pods", index)
        names = [part.strip() for part in reader.text(*at, "names").split(",") if part.strip()]
        target = {"podNames": names, "count": len(names)}
        out.append(_with_namespace(reader, at, target, reader.text(*at, "namespace"), own))
    if not out:
        raise reader.refuse(("spec", "selectors"), "names neither workloads nor pods")
    return out


def _with_namespace(
    reader: Reader, at: tuple[str | int, ...], target: Json, namespace: str, own: str
) -> Json:
    if not namespace or namespace == own:
        return target
    reader.approximate(
        at,
        f"the targets are in another namespace: label {namespace} surefoot.dev/chaos=enabled and annotate it "
        f"surefoot.dev/chaos-from={own}",
    )
    return {"namespace": namespace, **target}


def _labels(reader: Reader, at: tuple[str | int, ...], text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*([A-Za-z0-9./_-]+)\s*==?\s*([A-Za-z0-9._-]*)\s*", part)
        if match is None:
            raise reader.refuse(at, f'"{part.strip()}" is no label of the form key=value')
        found[match[1]] = match[2]
    return found


def _run(
    reader: Reader, index: int, common: Common, catalogue: dict[str, Json], options: Options
) -> tuple[Json, str]:
    at = ("spec", "experiments", index)
    components = (*at, "spec", "components")
    experiment = reader.text(*at, "name")
    env = tunables(reader, experiment, (*components, "env"), catalogue, options.profile)
    converted = faults.convert(experiment, env, options.network)
    recovery = reader.whole(*components, "statusCheckTimeouts", "timeout", default=common.recovery_timeout)
    reader.ignore(*components, "statusCheckTimeouts", "delay", why="recovery is watched continuously")
    for field in ("nodeSelector", "tolerations", "experimentImage", "experimentImagePullPolicy", "resources"):
        reader.ignore(*components, field, why="there is no experiment pod")
    targets = [{**target, **_share_of(target, converted)} for target in common.targets]
    spec: Json = {"target": targets[0], "duration": converted.duration}
    if converted.ramp:
        spec["ramp"] = converted.ramp
    spec["recoveryTimeout"] = f"{recovery}s"
    names = [experiment] if len(targets) == 1 else [f"{experiment}-{n + 1}" for n in range(len(targets))]
    spec["steps"] = [
        {
            "name": experiment,
            "faults": [
                {"name": name, **({"target": target} if place else {}), **converted.fault}
                for place, (name, target) in enumerate(zip(names, targets, strict=True))
            ],
        }
    ]
    found = [
        probes.probe(reader, (*at, "spec", "probe", n), options.cmd_image, common.namespace)
        for n in reader.items(*at, "spec", "probe")
    ]
    found += _health_checks(env, common)
    if found:
        spec["probes"] = found
    else:
        reader.approximate(
            (*at, "spec", "probe"),
            "without probes Litmus passes when the pods come back; here such a run is Inconclusive",
        )
    if (share := converted.share.get("percent", 0)) > _USUAL_PERCENT:
        spec["limits"] = {"maxPercent": share}
        _say_caps(reader, at, converted, share)
    reader.info(at, "the last ready pod is never taken; limits.allowTotal would allow it as Litmus does")
    return spec, experiment


def _say_caps(reader: Reader, at: tuple[str | int, ...], converted: faults.Converted, share: int) -> None:
    mesh = {"httpLatency", "httpAbort"} & set(converted.fault)
    reader.approximate(
        at,
        f"{'strikes requests at all pods' if mesh else f'harms {share} % of the pods'}, and a cluster allows "
        f"{_USUAL_PERCENT} % of a namespace's ready pods at one time: the ChaosSwitch `default` must have "
        f"spec.caps.percentPerNamespace: {share}",
    )
    if mesh:
        reader.approximate(
            at,
            "that requests are late or fail is proved by counting them: without traffic meanwhile the run ends as Error "
            "(a probe in mode During is traffic, too)",
        )


def _share_of(target: Json, converted: faults.Converted) -> Json:
    """How many pods. Pods that are named are all meant, whatever the percentage says."""
    if converted.pod_names:
        return {"podNames": list(converted.pod_names), "count": len(converted.pod_names)}
    return {} if "podNames" in target else converted.share


def _health_checks(env: Tunables, common: Common) -> list[Json]:
    """DEFAULT_HEALTH_CHECK: all pods of the target ready before and after. The hub says false, so the engine's field has
    no effect there (study 2.1)."""
    text = env.get("DEFAULT_HEALTH_CHECK").lower()
    wanted = text == "true" if text else common.health_check
    env.reader.info(
        ("spec", "defaultHealthCheck"),
        f"the workload's health is {'' if wanted else 'not '}checked, as the defaults have it",
    )
    if not wanted:
        return []
    labels = (common.targets[0].get("selector") or {}).get("matchLabels") or {}
    if not labels or common.targets[0].get("namespace"):
        why = "needs targets by label in the run's own namespace; add probes of your own"
        env.reader.approximate(("spec", "defaultHealthCheck"), why)
        return []
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return [
        {
            "name": "pods-ready",
            "mode": "Edge",
            "interval": "2s",
            "attempts": 90,
            "provider": {"kubernetes": {"op": "condition", "kind": "Pod", "labelSelector": selector}},
        }
    ]


def _object(kind: str, name: str, engine: Json, spec: Json) -> Json:
    meta: Json = {"name": name}
    if namespace := engine["metadata"].get("namespace"):
        meta["namespace"] = namespace
    meta["annotations"] = {
        "surefoot.dev/imported-from": f"litmuschaos.io ChaosEngine {engine['metadata'].get('name', '')}"
    }
    if labels := engine["metadata"].get("labels"):
        meta["labels"] = dict(labels)
    return {"apiVersion": "surefoot.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def _bounded(name: str) -> str:
    return name[:63].rstrip("-.")
