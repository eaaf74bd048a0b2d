"""The provider `chaos`: a ChaosRun while a release waits, and its verdict as the measurement.

    provider:
      chaos: {templateName: kill-some, args: [{name: percent, value: "25"}]}     # or: spec: {...}

A target that names nobody means the new version of the Rollout that owns the AnalysisRun. Faults begin at the start that
all metrics of one `startGroup` share. value in the conditions: `chaos.plan.words.result_of`. Without conditions the run's
verdict is the measurement's phase; an Error or Inconclusive of the run stays one, whatever the conditions say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from analysis.providers.base import Progress, Reading, Task
from chaos.plan.template import bounded, label_value, run_object, spec_of
from chaos.plan.words import WAITING_PHASES, progress_of, result_of
from rollout.api.analysis import Metric
from rollout.api.chaos import ChaosRun, TemplateUse
from rollout.api.codec import view
from rollout.api.meta import metadata, micro_timestamp
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS, CHAOS_TEMPLATES, ROLLOUTS
from rollout.api.rollout import INSTANCE_ID
from rollout.core.problem import raise_if_any
from rollout.core.validate_chaos import validate_run
from rollout.errors import AlreadyExists, InvalidSpec, NotFound, ProviderError
from rollout.runtime.kube import Kube, Object

ANALYSIS_LABEL = "surefoot.dev/analysis-run"
"""On the ChaosRuns of a release: the AnalysisRun's name, cut to what a label can hold."""
CHAOS_RUN = "chaosRun"
"""In a measurement's metadata: the ChaosRun's name."""
UNCLAIMED_SECONDS = 120.0
"""How long a run may stay without any status: nobody carries ChaosRuns out in this cluster."""


_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class Chaos:
    """Makes ChaosRuns in the namespace of the AnalysisRun. They are left for people to read, owned by it."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def asked(self, metric: Metric) -> dict[str, str]:
        use = _use(metric)
        return {"chaos": f"template {use.template_name}" if use.template_name else "inline spec"}

    async def begin(self, metric: Metric, secrets: Mapping[str, str], task: Task) -> dict[str, str]:
        del secrets  # a secret argument goes to the ChaosRun as a reference, never as a value
        try:
            analysis = await self._kube.get(ANALYSIS_RUNS, task.run.namespace, task.run.name)
            run = await self._run(_use(metric), analysis, task)
        except InvalidSpec as error:
            raise ProviderError("; ".join(error.problems)) from None
        try:
            await self._kube.create(CHAOS_RUNS, task.run.namespace, run)
        except AlreadyExists:
            await self._ours(task)  # made by a call that was cut off
        return {CHAOS_RUN: run_name(task)}

    async def look(
        self,
        metric: Metric,
        secrets: Mapping[str, str],
        task: Task,
        metadata: Mapping[str, str],
        now: datetime,
    ) -> Reading | Progress:
        del metric, secrets, metadata
        run = view(await self._ours(task), ChaosRun)
        if not run.completed:
            return _unfinished(run, task, now)
        said = f"ChaosRun {run.metadata.name}: {run.status.message or run.status.verdict}"
        match run.status.verdict:
            case "Successful" | "Failed" as phase:
                return Reading(result_of(run), phase=phase, message=said)
            case "Inconclusive":
                return Reading(result_of(run), phase="Inconclusive", message=said, inconclusive=said)
        raise ProviderError(said)

    async def end(self, metric: Metric, task: Task, metadata: Mapping[str, str]) -> None:
        del metric, metadata
        try:
            raw = await self._ours(task)
        except ProviderError:
            return  # gone, or never made
        run = view(raw, ChaosRun)
        if run.completed or run.spec.abort:
            return
        meta = run.metadata
        patch = {"metadata": {"uid": meta.uid}, "spec": {"abort": True}}
        await self._kube.patch(CHAOS_RUNS, meta.namespace, meta.name, patch)

    # --- the run ----------------------------------------------------------------------------------

    async def _run(self, use: TemplateUse, analysis: Object, task: Task) -> Object:
        template = await self._template(use.template_name, task.run.namespace)
        spec = spec_of(use, template, "provider.chaos")
        spec["target"] = await self._target(spec.get("target") or {}, analysis)
        spec["startAt"] = micro_timestamp(task.start_at)
        labels = {ANALYSIS_LABEL: label_value(task.run.name)}
        if instance := (metadata(analysis).get("labels") or {}).get(INSTANCE_ID):
            labels[INSTANCE_ID] = instance
        run = run_object(run_name(task), spec, owner=analysis, labels=labels)
        raise_if_any(validate_run(run))
        return run

    async def _template(self, name: str, namespace: str) -> Object | None:
        if not name:
            return None
        try:
            return await self._kube.get(CHAOS_TEMPLATES, namespace, name)
        except NotFound:
            return None

    async def _target(self, target: Mapping[str, Any], analysis: Object) -> dict[str, Any]:
        """Whom it is done to: as it is written, or the new version of the Rollout behind the AnalysisRun."""
        if any(target.get(name) for name in ("workloadRef", "selector", "podNames")):
            return dict(target)
        owners = metadata(analysis).get("ownerReferences") or ()
        owner = next((one for one in owners if one.get("kind") == ROLLOUTS.kind), None)
        if owner is None:
            raise ProviderError(
                "the target names nobody, and no Rollout owns this AnalysisRun whose new version could be meant; "
                "write target.workloadRef or target.selector"
            )
        rollout = await self._kube.get(ROLLOUTS, metadata(analysis)["namespace"], owner["name"])
        blue_green = "blueGreen" in (rollout["spec"].get("strategy") or {})
        ref = {
            "apiVersion": ROLLOUTS.api_version,
            "kind": ROLLOUTS.kind,
            "name": owner["name"],
            "role": "preview" if blue_green else "canary",
        }
        return {**target, "workloadRef": ref}

    async def _ours(self, task: Task) -> Object:
        """The ChaosRun of this task. ProviderError when there is none, or one of its name that is not ours."""
        name = run_name(task)
        try:
            run = await self._kube.get(CHAOS_RUNS, task.run.namespace, name)
        except NotFound:
            raise ProviderError(f'the ChaosRun "{name}" is gone; somebody deleted it') from None
        owners = metadata(run).get("ownerReferences") or ()
        if not any(one.get("controller") and one.get("uid") == task.run_uid for one in owners):
            raise ProviderError(f'the ChaosRun "{name}" belongs to somebody else; delete or rename it')
        return run


def run_name(task: Task) -> str:
    """`<analysisrun>-<metric>-<n>`; a metric whose name cannot be in a name is told apart by its hash."""
    metric = task.metric
    if not _NAME.fullmatch(metric):
        digest = hashlib.sha256(metric.encode()).hexdigest()[:8]
        metric = f"{re.sub('[^a-z0-9]+', '-', metric.lower()).strip('-')}-{digest}".lstrip("-")
    return bounded(f"{task.run.name}-{metric}", str(task.number))


def _use(metric: Metric) -> TemplateUse:
    body = metric.provider.get("chaos")
    try:
        return view(body if isinstance(body, Mapping) else {}, TemplateUse, path="provider.chaos")
    except InvalidSpec as error:
        raise ProviderError("; ".join(error.problems)) from None


def _unfinished(run: ChaosRun, task: Task, now: datetime) -> Progress:
    waited = (now - task.start_at).total_seconds()
    if not run.status.phase and waited > UNCLAIMED_SECONDS:
        raise ProviderError(
            f"nobody has taken the ChaosRun {run.metadata.name} up within {UNCLAIMED_SECONDS:g} s; "
            "is a controller of ChaosRuns at work in this namespace?"
        )
    begun = run.status.phase not in WAITING_PHASES
    return Progress(progress_of(run), seconds=1.0 if begun else 0.5)
